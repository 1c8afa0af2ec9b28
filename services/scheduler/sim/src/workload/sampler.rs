//! Draws durations of mean 1.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::Workload;

/// A distribution, its constants worked out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sampler {
    Exponential,
    /// The share of the first branch; its rate is twice that, the other's twice the rest.
    Hyperexponential {
        first: f64,
    },
    /// The shortest, the negative inverse of the exponent, and what lies below the longest.
    BoundedPareto {
        shortest: f64,
        power: f64,
        below: f64,
    },
    Lognormal {
        sigma: f64,
    },
    Deterministic,
}

impl Sampler {
    /// The sampler of a workload; nothing for a trace, which brings its own durations.
    pub(crate) fn new(workload: &Workload) -> Option<Self> {
        Some(match *workload {
            Workload::Exponential => Self::Exponential,
            Workload::Hyperexponential { cv2 } => {
                let first = f64::midpoint(1.0, ((cv2 - 1.0) / (cv2 + 1.0)).sqrt());
                Self::Hyperexponential { first }
            }
            Workload::BoundedPareto { alpha, ratio } => Self::BoundedPareto {
                shortest: 1.0 / pareto_mean(alpha, ratio),
                power: -1.0 / alpha,
                below: 1.0 - ratio.powf(-alpha),
            },
            Workload::Lognormal { sigma, .. } => Self::Lognormal { sigma },
            Workload::Deterministic => Self::Deterministic,
            Workload::Trace(_) => return None,
        })
    }

    pub(crate) fn draw(self, rng: &mut Pcg64) -> f64 {
        match self {
            Self::Exponential => exponential(rng),
            Self::Hyperexponential { first } => {
                let branch = if rng.random::<f64>() < first {
                    first
                } else {
                    1.0 - first
                };
                exponential(rng) / (2.0 * branch)
            }
            Self::BoundedPareto {
                shortest,
                power,
                below,
            } => shortest * (1.0 - rng.random::<f64>() * below).powf(power),
            Self::Lognormal { sigma } => (sigma * standard_normal(rng) - sigma * sigma / 2.0).exp(),
            Self::Deterministic => 1.0,
        }
    }
}

/// The mean of a bounded Pareto whose shortest is 1.
fn pareto_mean(alpha: f64, ratio: f64) -> f64 {
    let below = 1.0 - ratio.powf(-alpha);
    if (alpha - 1.0).abs() < 1e-9 {
        ratio.ln() / below
    } else {
        alpha / (alpha - 1.0) * (1.0 - ratio.powf(1.0 - alpha)) / below
    }
}

pub(crate) fn exponential(rng: &mut Pcg64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// Box and Muller; the second of the pair is not kept, so that each draw takes two numbers.
pub(crate) fn standard_normal(rng: &mut Pcg64) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand_pcg::rand_core::SeedableRng;

    use super::*;

    /// Mean and squared coefficient of variation of many draws.
    fn moments(text: &str) -> (f64, f64) {
        let sampler = Sampler::new(&Workload::parse(text).expect("good")).expect("no trace");
        let mut rng = Pcg64::seed_from_u64(7);
        let (mut sum, mut squares) = (0.0, 0.0);
        let draws = 1_000_000;
        for _ in 0..draws {
            let duration = sampler.draw(&mut rng);
            assert!(duration >= 0.0 && duration.is_finite());
            sum += duration;
            squares += duration * duration;
        }
        let mean = sum / f64::from(draws);
        (mean, squares / f64::from(draws) / (mean * mean) - 1.0)
    }

    #[test]
    fn every_distribution_has_mean_one_and_the_variance_that_it_should() {
        for (text, cv2) in [
            ("exp", 1.0),
            ("h2:10", 10.0),
            ("pareto:2.5,100", 0.623),
            ("pareto:1,100", 3.62),
            ("lognormal:3,1", std::f64::consts::E - 1.0),
            ("deterministic", 0.0),
        ] {
            let (mean, found) = moments(text);
            assert!((mean - 1.0).abs() < 0.02, "{text}: mean {mean}");
            assert!(
                (found - cv2).abs() < 0.05 * cv2.max(1.0),
                "{text}: cv2 {found}"
            );
        }
    }

    #[test]
    fn a_bounded_pareto_keeps_its_bounds() {
        let sampler = Sampler::new(&Workload::BoundedPareto {
            alpha: 1.1,
            ratio: 50.0,
        });
        let sampler = sampler.expect("no trace");
        let mut rng = Pcg64::seed_from_u64(1);
        let drawn: Vec<f64> = (0..100_000).map(|_| sampler.draw(&mut rng)).collect();
        let least = drawn.iter().copied().fold(f64::INFINITY, f64::min);
        let most = drawn.iter().copied().fold(0.0, f64::max);
        assert!(
            most / least <= 50.0 && most / least > 45.0,
            "{least} to {most}"
        );
    }
}
