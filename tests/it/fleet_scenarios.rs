//! The scenarios of fleets: each answers its question, and its variants answer it the other way.

use crate::support::shipped_variant;
use tidegate_sim::engine::Mode;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{RunOptions, run};
use tidegate_sim::results::Verdict;

fn verdict(name: &str, variant: Option<&str>) -> Verdict {
    let scenario = shipped_variant(name, variant);
    let control = Control::default();
    let options = RunOptions { threads: 2, mode: Mode::Fast, control: &control };
    let experiment = run(&scenario, options, None).unwrap();
    experiment.verdict()
}

macro_rules! answers {
    ($($test:ident: $file:literal, $($variant:literal $verdict:ident),*;)*) => {$(
        #[test]
        fn $test() {
            assert_eq!(verdict($file, None), Verdict::Holds, "the scenario itself");
            $(assert_eq!(verdict($file, Some($variant)), Verdict::$verdict, "variant {}", $variant);)*
        }
    )*};
}

answers! {
    sharing_beats_dedicated_pools_at_equal_cost_when_peaks_do_not_meet:
        "serverless-or-dedicated", "dedicated" Violated;
    a_slow_cold_start_misses_a_jump_of_the_traffic: "cold-start", "slow-start" Violated;
    scale_to_zero_halves_the_cost_of_a_rare_model: "scale-to-zero", "keep-one" Violated;
    an_autoscaler_on_the_queue_length_oscillates: "autoscaler-oscillation", "queue-length" Violated;
    one_machine_more_survives_the_loss_of_one: "n-plus-one", "no-spare" Violated, "lose" Violated;
    a_third_zone_survives_an_outage_that_two_do_not: "zone-outage", "two-zones" Violated;
    a_retry_budget_ends_a_storm_that_keeps_itself_going: "retry-storm", "no-budget" Violated;
    fair_queueing_hides_a_noisy_neighbour: "noisy-neighbour", "fifo" Violated;
    two_choices_need_no_fresh_news_and_the_least_loaded_herds:
        "stale-herd", "least-loaded" Violated, "least-loaded-fresh" Holds;
    prefix_affinity_beats_load_for_long_sessions: "prefix-or-load", "least-loaded" Violated;
    two_kinds_of_gpu_serve_one_tier_when_the_cheap_ones_are_not_overrun: "heterogeneous", "even" Violated;
    separate_prompts_keep_gaps_short_while_the_network_keeps_up:
        "disaggregated", "aggregated" Violated, "slow-network" Violated;
    spilling_over_saves_a_small_dedicated_pool: "spill-over", "dedicated-only" Violated;
    hedging_hides_a_straggler: "hedging", "without" Violated;
}
