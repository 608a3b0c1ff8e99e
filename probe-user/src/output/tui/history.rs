//! Rates of the whole host over time.

use std::collections::VecDeque;

/// Maximum number of samples: one hour at one per second.
const MAX_POINTS: usize = 3_600;

/// Rates of one sample, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// TIME_WAITs created.
    pub time_waits: f64,
    /// RSTs sent.
    pub resets_sent: f64,
    /// RSTs received.
    pub resets_received: f64,
    /// Ephemeral port allocations.
    pub searches: f64,
    /// Allocations that failed.
    pub failures: f64,
}

/// The last hour.
#[derive(Clone, Debug, Default)]
pub struct PointHistory(VecDeque<Point>);

impl PointHistory {
    /// Adds the newest point.
    pub fn push(&mut self, point: Point) {
        if self.0.len() == MAX_POINTS {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    pub fn last(&self) -> Option<Point> {
        self.0.back().copied()
    }

    /// The last `columns` columns, the oldest first: each has the maximum of `samples` samples. The newest may have
    /// fewer.
    pub fn columns(&self, of: fn(&Point) -> f64, samples: usize, columns: usize) -> Vec<f64> {
        let samples = samples.max(1);
        // Columns keep their position while the newest fills, so that the plot does not flicker.
        let newest = self.0.len().div_ceil(samples);
        (newest.saturating_sub(columns)..newest)
            .map(|column| {
                self.0
                    .range(column * samples..((column + 1) * samples).min(self.0.len()))
                    .map(of)
                    .fold(0.0, f64::max)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_highest_of_their_samples() {
        let mut history = PointHistory::default();
        for number in 0..7 {
            history.push(Point {
                time_waits: f64::from(number),
                ..Point::default()
            });
        }
        let of = |point: &Point| point.time_waits;
        assert_eq!(history.columns(of, 1, 3), [4.0, 5.0, 6.0]);
        assert_eq!(history.columns(of, 5, 9), [4.0, 6.0]);
        for _ in 0..2 * MAX_POINTS {
            history.push(Point::default());
        }
        assert_eq!(history.columns(of, 1, usize::MAX).len(), MAX_POINTS);
    }
}
