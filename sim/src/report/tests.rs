//! Reports of ordinary, empty and odd results.

use super::*;
use crate::observe::synthetic::scenario;
use crate::results::tests::{Scratch, result_set};

#[test]
#[ignore]
fn look() {
    let layout = Layout::new("/tmp/look");
    let set = result_set(&scenario(), 20_000, 5);
    set.write(&layout, false).unwrap();
    render(&set, &layout, Options::default()).unwrap();
    let mut other = scenario();
    other.variant = Some("more-gpus".to_owned());
    let mut other = result_set(&other, 8_000, 5);
    other.summary.provenance.arrival_hash = "abc".to_owned();
    render(&set, &layout, Options { compare: Some(&other), metric: None }).unwrap();
}
