//! Weighted least squares of a few columns, by orthogonalisation (modified Gram-Schmidt), which does not square the
//! condition of the problem as the normal equations do.

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Solution {
    /// By column.
    pub coefficients: Vec<f64>,
    /// Standard errors, by column: from the residuals, whose variance is taken as inverse to the weights.
    pub errors: Vec<f64>,
}

/// A column that is a combination of the ones before it, to about this share of its length, has no coefficient of its own.
const SMALL: f64 = 1e-6;

/// The first column that is nothing but a combination of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dependent(pub usize);

/// The coefficients with which the sum of the `columns` comes nearest to `target`: least weighted sum of squares.
///
/// All columns are as long as `target` and `weights` (above 0); there are more rows than columns. O(rows · columns²).
///
/// # Errors
/// When a column has no coefficient of its own.
pub(super) fn solve(columns: &[Vec<f64>], target: &[f64], weights: &[f64]) -> Result<Solution, Dependent> {
    let count = columns.len();
    assert!(target.len() > count, "{} rows do not determine {count} coefficients and an error", target.len());
    let scaled = |column: &[f64]| -> Vec<f64> {
        column.iter().zip(weights).map(|(value, weight)| value * weight.sqrt()).collect()
    };
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    // Upper triangular: column j = sum over i of basis i times r[i][j].
    let mut r = vec![vec![0.0; count]; count];
    for (j, column) in columns.iter().enumerate() {
        let mut left = scaled(column);
        let length = norm(&left);
        // Twice, because once leaves errors where columns are nearly parallel.
        for _ in 0..2 {
            for (i, unit) in basis.iter().enumerate() {
                let share = dot(unit, &left);
                r[i][j] += share;
                left.iter_mut().zip(unit).for_each(|(value, unit)| *value -= share * unit);
            }
        }
        let rest = norm(&left);
        if length == 0.0 || rest <= SMALL * length {
            return Err(Dependent(j));
        }
        r[j][j] = rest;
        left.iter_mut().for_each(|value| *value /= rest);
        basis.push(left);
    }
    let mut left = scaled(target);
    let mut projected = Vec::with_capacity(count);
    for unit in &basis {
        let share = dot(unit, &left);
        projected.push(share);
        left.iter_mut().zip(unit).for_each(|(value, unit)| *value -= share * unit);
    }
    let coefficients = back(&r, &projected);
    let variance = dot(&left, &left) / (target.len() - count) as f64;
    // The covariance is variance * R^-1 R^-T: its diagonal is the squared length of the rows of R^-1.
    let mut squares = vec![0.0; count];
    for j in 0..count {
        let unit: Vec<f64> = (0..count).map(|i| f64::from(u8::from(i == j))).collect();
        for (square, value) in squares.iter_mut().zip(back(&r, &unit)) {
            *square += value * value;
        }
    }
    let errors = squares.iter().map(|square| (variance * square).sqrt()).collect();
    Ok(Solution { coefficients, errors })
}

/// The `x` with `r x = right`, `r` upper triangular.
fn back(r: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let count = right.len();
    let mut x = vec![0.0; count];
    for i in (0..count).rev() {
        let known: f64 = (i + 1..count).map(|j| r[i][j] * x[j]).sum();
        x[i] = (right[i] - known) / r[i][i];
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_textbook_line_has_its_slope_its_intercept_and_their_errors() {
        // y = 1, 3, 2, 5 over x = 0, 1, 2, 3: slope 1.1, intercept 1.1, residual variance 1.35 (by hand).
        let columns = [vec![1.0; 4], vec![0.0, 1.0, 2.0, 3.0]];
        let found = solve(&columns, &[1.0, 3.0, 2.0, 5.0], &[1.0; 4]).unwrap();
        for (value, wanted) in [
            (found.coefficients[0], 1.1),
            (found.coefficients[1], 1.1),
            (found.errors[0], (1.35f64 * 0.7).sqrt()),
            (found.errors[1], (1.35f64 * 0.2).sqrt()),
        ] {
            assert!((value - wanted).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn a_row_that_counts_thrice_is_as_three_rows() {
        let (once, thrice) = ([1.0, 3.0, 2.0, 5.0], [1.0, 3.0, 3.0, 3.0, 2.0, 5.0]);
        let weighted =
            solve(&[vec![1.0; 4], vec![0.0, 1.0, 2.0, 3.0]], &once, &[1.0, 3.0, 1.0, 1.0]).unwrap();
        let plain = solve(&[vec![1.0; 6], vec![0.0, 1.0, 1.0, 1.0, 2.0, 3.0]], &thrice, &[1.0; 6]).unwrap();
        for (a, b) in weighted.coefficients.iter().zip(&plain.coefficients) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn a_column_that_the_others_make_up_is_named() {
        let one = vec![1.0; 5];
        let rising = vec![1.0, 2.0, 3.0, 4.0, 5.0];
        let both: Vec<f64> = rising.iter().map(|value| 3.0 * value - 2.0).collect();
        let target = [1.0, 2.0, 3.0, 4.0, 5.0];
        let ask = |columns: &[Vec<f64>]| solve(columns, &target, &[1.0; 5]).unwrap_err();
        assert_eq!(ask(&[one.clone(), rising.clone(), both]), Dependent(2));
        assert_eq!(ask(&[one.clone(), vec![0.0; 5], rising]), Dependent(1));
        assert_eq!(ask(&[one.clone(), vec![8.0; 5]]), Dependent(1));
    }

    proptest! {
        #[test]
        fn what_was_made_of_the_columns_is_found_again(
            rows in prop::collection::vec((1.0f64..500.0, 0.0f64..2e3, 1.0f64..1e6, 0.1f64..1e3), 12..60),
            truth in prop::collection::vec(1e-6f64..1e3, 4),
        ) {
            let columns = [
                vec![1.0; rows.len()],
                rows.iter().map(|row| row.0).collect(),
                rows.iter().map(|row| row.1).collect(),
                rows.iter().map(|row| row.2).collect::<Vec<f64>>(),
            ];
            let target: Vec<f64> = (0..rows.len())
                .map(|i| truth.iter().zip(&columns).map(|(factor, column)| factor * column[i]).sum())
                .collect();
            let weights: Vec<f64> = rows.iter().map(|row| row.3).collect();
            let found = solve(&columns, &target, &weights).unwrap();
            for i in 0..rows.len() {
                let again: f64 = found.coefficients.iter().zip(&columns).map(|(f, column)| f * column[i]).sum();
                prop_assert!((again / target[i] - 1.0).abs() < 1e-9, "row {}: {} {}", i, again, target[i]);
            }
        }
    }
}
