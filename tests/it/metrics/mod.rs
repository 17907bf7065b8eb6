//! What operators see: the metrics of a loaded node against those that were recorded, and read by the real tools.

mod families;
mod graphite;
mod load;
mod lost;
mod prometheus;
mod scrape;
mod tools;
