//! A picture of the latency: every percentile, the rare ones wide apart, as SVG.

use std::path::Path;

use plotters::prelude::{
    BLACK, ChartBuilder, IntoDrawingArea, IntoFont, LineSeries, RGBColor, SVGBackend, WHITE,
};

use super::{
    count::{Latencies, milliseconds},
    target::Error,
};

/// Width and height.
const SIZE: (u32, u32) = (800, 420);
/// Points of the curve.
const POINTS: u32 = 200;
/// Nines of the last percentile: 99.99 %.
const NINES: f64 = 4.0;
const CURVE: RGBColor = RGBColor(0x1f, 0x6f, 0xeb);

/// Draws the percentiles of a latency into a file.
pub(super) fn draw(file: &Path, title: &str, latencies: &Latencies) -> Result<(), Error> {
    let curve: Vec<(f64, f64)> = (0..=POINTS)
        .map(|point| {
            let nines = NINES * f64::from(point) / f64::from(POINTS);
            let part = 1.0 - 10_f64.powf(-nines);
            (nines, milliseconds(latencies.quantile(part)))
        })
        .collect();
    let top = curve.last().map_or(1.0, |last| last.1).max(0.001) * 1.05;
    let drawn = chart(file, title, top, curve);
    drawn.map_err(|error| {
        Error::Output(
            file.display().to_string(),
            std::io::Error::other(error.to_string()),
        )
    })
}

fn chart(
    file: &Path,
    title: &str,
    top: f64,
    curve: Vec<(f64, f64)>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18).into_font().color(&BLACK))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..NINES, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("milliseconds")
        .x_labels(5)
        .x_label_formatter(&|nines| percentile(*nines))
        .draw()?;
    chart.draw_series(LineSeries::new(curve, &CURVE))?;
    area.present()?;
    Ok(())
}

/// `0 %`, `90 %`, `99 %`, `99.9 %`, …
fn percentile(nines: f64) -> String {
    let text = format!("{:.4}", 100.0 - 100.0 * 10_f64.powf(-nines));
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rare_percentiles_have_their_names() {
        let names: Vec<_> = (0..=4).map(|nines| percentile(f64::from(nines))).collect();
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
