//! Lines over two axes, each of which may be logarithmic.

use std::{ops::Range, path::Path};

use anyhow::{Result, anyhow};
use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    },
    prelude::*,
};

use super::SIZE;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// A line and its name.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) colour: RGBColor,
}

/// A plot.
pub(super) struct Curves {
    pub(super) title: String,
    pub(super) x: (&'static str, Scale),
    pub(super) y: (&'static str, Scale),
    pub(super) curves: Vec<Curve>,
}

impl Curves {
    /// Writes the plot; nothing where there is nothing to show.
    pub(super) fn draw(&self, file: &Path) -> Result<()> {
        if self.curves.iter().all(|curve| curve.points.is_empty()) {
            return Ok(());
        }
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let x =
            extent(self.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0)), self.x.1);
        let y =
            extent(self.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1)), self.y.1);
        match (self.x.1, self.y.1) {
            (Scale::Linear, Scale::Linear) => self.on(&area, x, y),
            (Scale::Log, Scale::Linear) => self.on(&area, x.log_scale(), y),
            (Scale::Linear, Scale::Log) => self.on(&area, x, y.log_scale()),
            (Scale::Log, Scale::Log) => self.on(&area, x.log_scale(), y.log_scale()),
        }?;
        area.present().map_err(|error| anyhow!("{}: {error}", file.display()))
    }

    fn on<X, Y>(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, x: X, y: Y) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(self.x.0)
            .y_desc(self.y.0)
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 13))
            .light_line_style(RGBColor(240, 240, 240))
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .draw()
            .map_err(failed)?;
        for curve in &self.curves {
            let (colour, low) = (curve.colour, self.floor());
            let points = curve.points.iter().map(|(x, y)| (x.max(low.0), y.max(low.1)));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))
                .map_err(failed)?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .margin(12)
            .legend_area_size(30)
            .label_font(("sans-serif", 14))
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(200, 200, 200))
            .draw()
            .map_err(failed)
    }

    /// A logarithmic axis has no zero: the smallest values that are shown.
    fn floor(&self) -> (f64, f64) {
        let floor = |scale| if scale == Scale::Log { SMALLEST } else { f64::MIN };
        (floor(self.x.1), floor(self.y.1))
    }
}

/// The smallest value on a logarithmic axis.
const SMALLEST: f64 = 0.01;

/// What an axis shows: from zero, or whole decades.
fn extent(values: impl Iterator<Item = f64>, scale: Scale) -> Range<f64> {
    let (low, high) =
        values.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    match scale {
        Scale::Linear => 0.0..(high * 1.02).max(SMALLEST),
        Scale::Log => {
            let decade = |value: f64| value.max(SMALLEST).log10();
            let (low, high) = (decade(low).floor(), decade(high).ceil());
            10_f64.powf(low)..10_f64.powf(high.max(low + 1.0))
        }
    }
}

/// A number as short as it can be.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that a label formatter has")]
pub(super) fn number(value: &f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_all_values_and_logs_never_start_at_zero() {
        assert_eq!(extent([1.0, 50.0].into_iter(), Scale::Linear), 0.0..51.0);
        let log = extent([0.0, 7.0].into_iter(), Scale::Log);
        assert!((log.start - 0.01).abs() < 1e-9 && (log.end - 10.0).abs() < 1e-9);
        assert_eq!(number(&100.0), "100");
        assert_eq!(number(&0.25), "0.25");
    }
}
