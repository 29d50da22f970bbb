//! From measurements to a step law: points, the fit, and the file that a scenario can name.
//!
//! A *point* is a group of steps of about the same shape with the mean of their lengths ([`points`]). A simulation knows
//! its steps ([`log`]); a client of a live gateway sees tokens only, and reckons from when they came in what the steps were
//! like ([`client`]). Because the law is linear, the mean length of steps is the law at their mean shape, whatever steps
//! are taken together: both kinds of points are fitted by the same least squares ([`fit`]).
//!
//! It knows nothing of terminals, sockets or where files lie.

pub mod client;
pub mod fit;
mod least_squares;
pub mod log;
pub mod points;

#[cfg(test)]
mod tests;
