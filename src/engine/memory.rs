//! Single-node engine: history rings, presence map.
