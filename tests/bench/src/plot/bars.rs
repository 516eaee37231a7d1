//! Bars with their spread.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{SIZE, curves::number};
use crate::stats::Spread;

/// Pixels of a bar and its name.
const WIDTH: u32 = 200;
/// Half the width of a bar; bars are one apart.
const HALF: f64 = 0.3;

/// A bar: as high as the median, with a line from the least to the most.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: Spread,
    pub(super) colour: RGBColor,
}

/// A plot.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) axis: &'static str,
    pub(super) bars: Vec<Bar>,
}

impl Bars {
    /// Writes the plot.
    pub(super) fn draw(&self, file: &Path) -> Result<()> {
        let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
        let names = WIDTH * u32::try_from(self.bars.len())?;
        let area = SVGBackend::new(file, (SIZE.0.max(names), SIZE.1)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let high = self.bars.iter().map(|bar| bar.value.max).fold(0.0, f64::max) * 1.12;
        let wide = self.bars.len() as f64 - 0.5;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(14)
            .x_label_area_size(34)
            .y_label_area_size(80)
            .build_cartesian_2d(-0.5..wide, 0.0..high)
            .map_err(failed)?;
        let name = |at: &f64| self.name_at(*at);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(self.bars.len() * 2 + 1)
            .x_label_formatter(&name)
            .y_label_formatter(&number)
            .y_desc(self.axis)
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 14))
            .light_line_style(WHITE)
            .draw()
            .map_err(failed)?;
        for (bar, at) in self.bars.iter().zip((0..).map(f64::from)) {
            let Spread { median, min, max } = bar.value;
            let body = Rectangle::new([(at - HALF, 0.0), (at + HALF, median)], bar.colour.filled());
            let spread = PathElement::new([(at, min), (at, max)], BLACK.stroke_width(2));
            let text = Text::new(number(&median), (at + 0.03, max + high * 0.035), ("sans-serif", 15));
            chart.draw_series([body]).map_err(failed)?;
            chart.draw_series([spread]).map_err(failed)?;
            chart.draw_series([text]).map_err(failed)?;
        }
        area.present().map_err(|error| anyhow!("{}: {error}", file.display()))
    }

    /// The name of the bar in whose middle a label stands.
    fn name_at(&self, at: f64) -> String {
        let bar = self.bars.get(at.round().max(0.0) as usize).filter(|_| (at - at.round()).abs() < 1e-6);
        bar.map_or_else(String::new, |bar| bar.name.clone())
    }
}
