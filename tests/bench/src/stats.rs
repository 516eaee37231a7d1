//! Distributions and their spread over repetitions: pure arithmetic.

use serde::Serialize;

/// Steps in which a distribution is kept: half a per cent.
const STEPS: usize = 200;

/// A distribution as it is reported: its percentiles, in the unit of its values.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Distribution {
    pub(crate) count: usize,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// From the minimum to the maximum in steps of half a per cent.
    pub(crate) steps: Vec<f64>,
}

impl Distribution {
    /// Of values in any order; none when there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (max, count) = (*values.last()?, values.len());
        Some(Self {
            count,
            mean: rounded(values.iter().sum::<f64>() / count as f64),
            p50: rounded(quantile(&values, 0.5)),
            p90: rounded(quantile(&values, 0.9)),
            p99: rounded(quantile(&values, 0.99)),
            p999: rounded(quantile(&values, 0.999)),
            max: rounded(max),
            steps: (0..=STEPS).map(|step| rounded(quantile(&values, step as f64 / STEPS as f64))).collect(),
        })
    }

    /// Points (value, share of the values that are not above it), for a plot.
    pub(crate) fn cumulative(&self) -> Vec<(f64, f64)> {
        self.steps.iter().enumerate().map(|(step, value)| (*value, step as f64 / STEPS as f64)).collect()
    }
}

/// The value that a share of the sorted values does not exceed (nearest rank).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// Three places are kept: microseconds of milliseconds.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The median and the extremes of repeated measurements.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of measurements in any order; none when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median: rounded(median), min: rounded(min), max: rounded(max) })
    }

    /// In another unit.
    pub(crate) fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, min: self.min * by, max: self.max * by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let all = Distribution::of((1..=1000).rev().map(f64::from).collect()).unwrap();
        assert_eq!(
            (all.count, all.p50, all.p90, all.p99, all.p999, all.max),
            (1000, 500.0, 900.0, 990.0, 999.0, 1000.0)
        );
        assert_eq!((all.steps.len(), all.steps[0], all.steps[200]), (201, 1.0, 1000.0));
        let one = Distribution::of(vec![7.0]).unwrap();
        assert_eq!((one.p50, one.p99, one.max, one.mean), (7.0, 7.0, 7.0, 7.0));
        assert!(Distribution::of(vec![]).is_none());
    }

    #[test]
    fn a_spread_has_the_middle_and_the_ends() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([4.0, 2.0]).unwrap().median, 3.0);
        assert!(Spread::of([]).is_none());
    }
}
