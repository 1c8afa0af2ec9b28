//! Distributions of mean 1 as fine grids of mass, for the integrals in the formulas.

use std::f64::consts::TAU;

/// Cells of a grid; each is a step of the same factor.
const CELLS: u32 = 200_000;

/// A distribution of durations, with mean 1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Distribution {
    Exponential,
    Hyperexponential { cv2: f64 },
    BoundedPareto { alpha: f64, ratio: f64 },
    Lognormal { sigma: f64 },
}

/// A cell of the grid: everything up to its middle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) x: f64,
    pub(crate) width: f64,
    /// The probability of this cell.
    pub(crate) mass: f64,
    /// The probability of more.
    pub(crate) tail: f64,
    /// ∫₀ˣ t f(t) dt
    pub(crate) first: f64,
    /// ∫₀ˣ t² f(t) dt
    pub(crate) second: f64,
}

impl Distribution {
    /// E\[S²\]
    pub(crate) fn second_moment(self) -> f64 {
        self.grid().last().expect("a grid has cells").second
    }

    pub(crate) fn grid(self) -> Vec<Cell> {
        let (low, high) = self.range();
        let step = (high / low).powf(1.0 / f64::from(CELLS));
        let cells = (0..CELLS).map(|index| {
            let from = low * step.powi(index as i32);
            let width = from * (step - 1.0);
            let x = from * step.sqrt();
            (x, width, self.density(x) * width)
        });
        let cells: Vec<_> = cells.collect();
        let total: f64 = cells.iter().map(|(_, _, mass)| mass).sum();
        assert!(
            (total - 1.0).abs() < 1e-3,
            "{self:?}: the grid holds {total}"
        );
        let (mut below, mut first, mut second) = (0.0, 0.0, 0.0);
        let grid = cells.into_iter().map(|(x, width, mass)| {
            let mass = mass / total;
            // Half of the cell lies below its middle.
            let cell = |sum: &mut f64, part: f64| {
                *sum += part;
                *sum - part / 2.0
            };
            Cell {
                x,
                width,
                mass,
                tail: 1.0 - cell(&mut below, mass),
                first: cell(&mut first, mass * x),
                second: cell(&mut second, mass * x * x),
            }
        });
        grid.collect()
    }

    fn density(self, x: f64) -> f64 {
        match self {
            Self::Exponential => (-x).exp(),
            Self::Hyperexponential { cv2 } => {
                let p = branch(cv2);
                let part = |p: f64| p * 2.0 * p * (-2.0 * p * x).exp();
                part(p) + part(1.0 - p)
            }
            Self::BoundedPareto { alpha, ratio } => {
                let low = self.range().0;
                alpha * low.powf(alpha) * x.powf(-alpha - 1.0) / (1.0 - ratio.powf(-alpha))
            }
            Self::Lognormal { sigma } => {
                let z = (x.ln() + sigma * sigma / 2.0) / sigma;
                (-z * z / 2.0).exp() / (x * sigma * TAU.sqrt())
            }
        }
    }

    fn range(self) -> (f64, f64) {
        match self {
            Self::Exponential => (1e-9, 50.0),
            Self::Hyperexponential { cv2 } => (1e-9, 25.0 / (1.0 - branch(cv2))),
            Self::BoundedPareto { alpha, ratio } => {
                let mean = alpha / (alpha - 1.0) * (1.0 - ratio.powf(1.0 - alpha))
                    / (1.0 - ratio.powf(-alpha));
                (1.0 / mean, ratio / mean)
            }
            Self::Lognormal { sigma } => {
                let at = |z: f64| (sigma * z - sigma * sigma / 2.0).exp();
                (at(-10.0), at(10.0 + 2.0 * sigma))
            }
        }
    }
}

/// The share of the first branch when both have the same part in the mean.
fn branch(cv2: f64) -> f64 {
    f64::midpoint(1.0, ((cv2 - 1.0) / (cv2 + 1.0)).sqrt())
}

#[test]
fn grids_have_mean_one_and_the_right_second_moment() {
    let e = std::f64::consts::E;
    for (distribution, second) in [
        (Distribution::Exponential, 2.0),
        (Distribution::Hyperexponential { cv2: 10.0 }, 11.0),
        (Distribution::Lognormal { sigma: 1.0 }, e),
        (
            Distribution::BoundedPareto {
                alpha: 2.5,
                ratio: 100.0,
            },
            1.6232,
        ),
    ] {
        let mean = distribution.grid().last().expect("cells").first;
        assert!((mean - 1.0).abs() < 1e-3, "{distribution:?}: mean {mean}");
        let found = distribution.second_moment();
        assert!(
            (found / second - 1.0).abs() < 2e-3,
            "{distribution:?}: {found}"
        );
    }
}
