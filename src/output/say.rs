//! Lines on standard error.

/// Writes a line on standard error. A reader that has gone (`2>&1 | head`) is no error of ours, let alone a panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
