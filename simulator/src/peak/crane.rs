//! Crane's prediction of a node's use, as a reference: the highest of the last three days, or what is left of them after all but the twenty strongest frequencies are dropped.
//!
//! Formulas and defaults of gocrane/crane (`dsp` predictor, `maxValue` and `fft` estimators), without its test for a period.

use katalyst_core::prediction::{Estimator, NodeSample};

const DAY: usize = 288;

/// Renewed once an hour.
const EVERY: usize = 12;

/// Lines that stay, and the mean.
const LINES: usize = 21;

/// Which estimator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Highest value.
    MaxValue,
    /// Strongest frequencies.
    Fft,
}

/// See the module.
#[derive(Debug)]
pub struct Crane {
    kind: Kind,
    /// First step with a prediction.
    from: usize,
    usage: Vec<f64>,
    limit: f64,
    value: f64,
}

impl Crane {
    /// The first prediction is made after so many steps.
    pub fn new(kind: Kind, from: usize) -> Self {
        Self {
            kind,
            from,
            usage: Vec::new(),
            limit: 0.0,
            value: 0.0,
        }
    }
}

impl Estimator for Crane {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        self.limit = sample.limit();
        self.usage.push(sample.usage());
        let now = self.usage.len() - 1;
        if now < self.from || !(now - self.from).is_multiple_of(EVERY) {
            return;
        }
        let length = match self.usage.len() {
            n if n >= 3 * DAY => 3 * DAY,
            n if n >= DAY => n / DAY * DAY,
            n => n,
        };
        let past = self.usage.get(now + 1 - length..).unwrap_or_default();
        self.value = if self.kind == Kind::Fft && length >= 2 * DAY {
            smoothed_peak(past)
        } else {
            past.iter().copied().fold(0.0, f64::max)
        };
    }

    fn peak(&self) -> f64 {
        let margin = match self.kind {
            Kind::MaxValue => 1.1,
            Kind::Fft => 1.2,
        };
        (margin * self.value).min(self.limit)
    }
}

type Complex = (f64, f64);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

fn turn(part: f64) -> Complex {
    let (sin, cos) = (std::f64::consts::TAU * part).sin_cos();
    (cos, sin)
}

/// Fourier transform of any length by splitting off its smallest factor.
fn transform(values: &[Complex]) -> Vec<Complex> {
    let n = values.len();
    let factor = (2..=n)
        .find(|factor| n.is_multiple_of(*factor))
        .unwrap_or(1);
    if factor <= 1 {
        return values.to_vec();
    }
    let parts: Vec<Vec<Complex>> = (0..factor)
        .map(|first| {
            let part: Vec<Complex> = values.iter().skip(first).step_by(factor).copied().collect();
            transform(&part)
        })
        .collect();
    let roots: Vec<Complex> = (0..n).map(|k| turn(-(k as f64) / n as f64)).collect();
    let root = |k: usize| roots.get(k % n).copied().unwrap_or_default();
    (0..n)
        .map(|k| {
            parts
                .iter()
                .enumerate()
                .fold((0.0, 0.0), |sum, (first, part)| {
                    let value = part.get(k % part.len().max(1)).copied().unwrap_or_default();
                    let value = times(value, root(first * k));
                    (sum.0 + value.0, sum.1 + value.1)
                })
        })
        .collect()
}

/// The highest value of the last day after only the strongest lines were kept.
fn smoothed_peak(past: &[f64]) -> f64 {
    let n = past.len();
    let values: Vec<Complex> = past.iter().map(|value| (*value, 0.0)).collect();
    let mut lines: Vec<(usize, Complex)> = transform(&values)
        .into_iter()
        .take(n / 2 + 1)
        .enumerate()
        .collect();
    let strength = |(k, (re, im)): &(usize, Complex)| {
        if *k == 0 {
            f64::INFINITY
        } else {
            re.hypot(*im)
        }
    };
    lines.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    lines.truncate(LINES);
    (n.saturating_sub(DAY)..n)
        .map(|at| {
            lines
                .iter()
                .map(|(k, line)| {
                    let both = if *k == 0 || 2 * k == n { 1.0 } else { 2.0 };
                    let part = (k * at % n) as f64 / n as f64;
                    both * times(*line, turn(part)).0 / n as f64
                })
                .sum::<f64>()
        })
        .fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_the_sum_it_stands_for() {
        let values: Vec<Complex> = (0..12u32)
            .map(|i| (f64::from(i * i % 7), f64::from(i % 3)))
            .collect();
        for (k, got) in transform(&values).into_iter().enumerate() {
            let expected = values
                .iter()
                .enumerate()
                .fold((0.0, 0.0), |sum, (i, value)| {
                    let term = times(*value, turn(-((i * k) as f64) / 12.0));
                    (sum.0 + term.0, sum.1 + term.1)
                });
            assert!((got.0 - expected.0).abs() < 1e-9 && (got.1 - expected.1).abs() < 1e-9);
        }
    }

    #[test]
    fn a_wave_survives_and_noise_goes() {
        let past: Vec<f64> = (0..864u32)
            .map(|i| 10.0 + 5.0 * turn(f64::from(i) / 288.0).1)
            .collect();
        assert!((smoothed_peak(&past) - 15.0).abs() < 1e-6);
    }
}
