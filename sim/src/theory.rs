//! Queueing theory in closed form: what a simulation of a textbook queue must show.
//!
//! These are the oracles of the tests and nothing else: no engine, gateway or report may use them. They know
//! steady states only (M: Poisson or exponential, D: constant, G: any; Kendall's notation). If one were wrong, a
//! correct engine would fail its test, or a wrong engine pass; so each is checked against published values.
//!
//! Conventions: `offered` is the offered load `arrival rate x mean service time` in Erlangs, all times are seconds,
//! all rates are per second. A function returns `None` outside its domain (no steady state, or no meaning).

/// Blocking probability of M/G/c/c (Erlang B), for `offered >= 0` and `servers >= 1`.
///
/// Insensitive to the service law beyond its mean. O(servers), stable for any load.
/// Source: Erlang 1917; Kleinrock, *Queueing Systems* I, section 3.7 (M/M/m/m); the recursion is the usual one for
/// traffic tables, as in the ITU-D handbook *Teletraffic Engineering*.
pub fn erlang_b(offered: f64, servers: u32) -> Option<f64> {
    if !(offered.is_finite() && offered >= 0.0) || servers == 0 {
        return None;
    }
    // 1/B(n) = 1 + n/a * 1/B(n-1): the recursion on B itself keeps every term in [0, 1].
    let step = |blocked: f64, n: u32| offered * blocked / (f64::from(n) + offered * blocked);
    Some((1..=servers).fold(1.0, step))
}

/// Probability that an arrival waits in M/M/c (Erlang C), for `0 <= offered < servers`.
///
/// O(servers). Source: Kleinrock I, section 3.5: `C = c B / (c - a (1 - B))` with `B` of Erlang B.
pub fn erlang_c(offered: f64, servers: u32) -> Option<f64> {
    let blocked = erlang_b(offered, servers)?;
    let count = f64::from(servers);
    (offered < count).then(|| count * blocked / (count - offered * (1.0 - blocked)))
}

/// Mean wait in M/M/c, seconds.
///
/// `0 <= offered < servers`, `mean_service_s > 0`. O(servers). Source: Kleinrock I, section 3.5.
pub fn mmc_mean_wait(offered: f64, servers: u32, mean_service_s: f64) -> Option<f64> {
    let waits = erlang_c(offered, servers)?;
    positive(mean_service_s)?;
    Some(waits * mean_service_s / (f64::from(servers) - offered))
}

/// Mean time in an M/M/c system (wait and service), seconds. Domain and source as [`mmc_mean_wait`].
pub fn mmc_mean_response(offered: f64, servers: u32, mean_service_s: f64) -> Option<f64> {
    Some(mmc_mean_wait(offered, servers, mean_service_s)? + mean_service_s)
}

/// Quantile `q` in `[0, 1)` of the wait in M/M/c under first come, first served, seconds; 0 when fewer wait.
///
/// Inverts `P(W > t) = C exp(-(c - a) t / s)`. Source: Gross et al., *Fundamentals of Queueing Theory*, 4th ed.,
/// chapter 2.
pub fn mmc_wait_quantile(offered: f64, servers: u32, mean_service_s: f64, q: f64) -> Option<f64> {
    let waits = erlang_c(offered, servers)?;
    positive(mean_service_s)?;
    let beyond = tail_of(q)?;
    let rate = (f64::from(servers) - offered) / mean_service_s;
    Some(((waits / beyond).ln() / rate).max(0.0))
}

/// Probability that the time in an M/M/c system exceeds `t_s`, first come, first served.
///
/// The wait is 0 or exponential with rate `(c - a) / s`, the service exponential with rate `1 / s` and independent
/// of it. Source: Gross et al., 4th ed., chapter 2 (waiting-time distribution of M/M/c).
pub fn mmc_response_tail(offered: f64, servers: u32, mean_service_s: f64, t_s: f64) -> Option<f64> {
    let waits = erlang_c(offered, servers)?;
    positive(mean_service_s)?;
    if t_s.is_nan() || t_s < 0.0 {
        return None;
    }
    let x = t_s / mean_service_s;
    let d = f64::from(servers) - offered - 1.0;
    // (e^-x - e^-(1+d)x) / d, whose limit at d = 0 is x e^-x.
    let both = if (d * x).abs() < 1e-5 {
        x * (-x).exp() * (1.0 - d * x / 2.0)
    } else {
        ((-x).exp() - (-(1.0 + d) * x).exp()) / d
    };
    Some((-x).exp() + waits * both)
}

/// Quantile `q` in `[0, 1)` of the time in an M/M/c system, seconds; by bisection on [`mmc_response_tail`].
pub fn mmc_response_quantile(offered: f64, servers: u32, mean_service_s: f64, q: f64) -> Option<f64> {
    let beyond = tail_of(q)?;
    let tail = |t: f64| mmc_response_tail(offered, servers, mean_service_s, t);
    let (mut low, mut high) = (0.0, mean_service_s);
    while tail(high)? > beyond {
        (low, high) = (high, high * 2.0);
    }
    // 200 halvings are more than the 53 bits that a double has.
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if tail(middle)? > beyond { low = middle } else { high = middle }
    }
    Some(high)
}

/// Mean wait in M/M/1, seconds: `rho s / (1 - rho)`, for `0 <= rho < 1`.
///
/// Source: Kleinrock I, section 3.2.
pub fn mm1_mean_wait(rho: f64, mean_service_s: f64) -> Option<f64> {
    load(rho)?;
    positive(mean_service_s)?;
    Some(rho * mean_service_s / (1.0 - rho))
}

/// Mean number in an M/M/1 system: `rho / (1 - rho)`, for `0 <= rho < 1`. Source: Kleinrock I, section 3.2.
pub fn mm1_mean_number(rho: f64) -> Option<f64> {
    load(rho)?;
    Some(rho / (1.0 - rho))
}

/// Mean number in the system of each server in the supermarket model, for `0 <= rho < 1` and `choices >= 1`.
///
/// Requests arrive by a Poisson process at very many single servers with lines of their own and exponential services;
/// each joins the shortest of `choices` lines drawn at random. A share `rho^((d^i - 1) / (d - 1))` of the servers has
/// at least `i` in the system, so the sum over `i >= 1` is the mean; one choice is M/M/1. It is the limit of many
/// servers: `n` of them differ by a term of the order `1 / n`. O(log(1 / (1 - rho))) terms for two choices and more.
/// Source: Vvedenskaya, Dobrushin, Karpelevich, *Queueing System with Selection of the Shortest of Two Queues*, 1996;
/// Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 2001, section 3.
pub fn supermarket_mean_number(rho: f64, choices: u32) -> Option<f64> {
    load(rho)?;
    let d = match choices {
        0 => return None,
        1 => return mm1_mean_number(rho),
        more => f64::from(more),
    };
    // The exponents are 1, 1 + d, 1 + d + d^2, ...: each is the one before times d, and one.
    let exponents = std::iter::successors(Some(1.0), |exponent| Some(d * exponent + 1.0));
    Some(exponents.map(|exponent| rho.powf(exponent)).take_while(|&share| share > 1e-18).sum())
}

/// Quantile `q` in `[0, 1)` of the time in an M/M/1 system, seconds: it is exponential with mean `s / (1 - rho)`.
///
/// Source: Kleinrock I, section 5.7.
pub fn mm1_response_quantile(rho: f64, mean_service_s: f64, q: f64) -> Option<f64> {
    load(rho)?;
    positive(mean_service_s)?;
    Some(-tail_of(q)?.ln() * mean_service_s / (1.0 - rho))
}

/// Mean wait in M/G/1, seconds: `rho s (1 + cv^2) / (2 (1 - rho))`, for `0 <= rho < 1` and `service_cv >= 0`.
///
/// `service_cv` is standard deviation over mean of the service time. Holds for any order of service that neither
/// looks at service times nor interrupts. Source: Pollaczek 1930, Khinchine 1932; Kleinrock I, section 5.6.
pub fn mg1_mean_wait(rho: f64, mean_service_s: f64, service_cv: f64) -> Option<f64> {
    load(rho)?;
    positive(mean_service_s)?;
    if !(service_cv.is_finite() && service_cv >= 0.0) {
        return None;
    }
    Some(rho * mean_service_s * (1.0 + service_cv * service_cv) / (2.0 * (1.0 - rho)))
}

/// Mean wait in M/D/1, seconds: half of M/M/1's. Domain as [`mm1_mean_wait`]. Source: Kleinrock I, section 5.6.
pub fn md1_mean_wait(rho: f64, service_s: f64) -> Option<f64> {
    mg1_mean_wait(rho, service_s, 0.0)
}

/// Mean time in M/G/1 with processor sharing, seconds: `s / (1 - rho)` whatever the distribution of service, for
/// `0 <= rho < 1`.
///
/// Source: Kleinrock II, section 4.4.
pub fn ps_mean_response(rho: f64, mean_service_s: f64) -> Option<f64> {
    load(rho)?;
    positive(mean_service_s)?;
    Some(mean_service_s / (1.0 - rho))
}

/// Mean waits of the classes of a non-preemptive priority M/M/c, seconds, most urgent first.
///
/// `offered` are the classes' loads in Erlangs, each `>= 0`, their sum `< servers`; all classes have the same
/// exponential service. Class `k` waits `W0 / ((1 - s[k-1]) (1 - s[k]))` where `s` are the cumulated loads per
/// server and `W0 = C s / c` at the total load. Source: Cobham 1954; Kella and Yechiali 1985.
pub fn mmc_priority_mean_waits(offered: &[f64], servers: u32, mean_service_s: f64) -> Option<Vec<f64>> {
    if offered.is_empty() || offered.iter().any(|a| a.is_nan() || *a < 0.0) {
        return None;
    }
    let count = f64::from(servers);
    let waits = erlang_c(offered.iter().sum(), servers)?;
    let first = waits * positive(mean_service_s)? / count;
    let mut below = 0.0;
    Some(
        offered
            .iter()
            .map(|a| {
                let upto = below + a / count;
                let wait = first / ((1.0 - below) * (1.0 - upto));
                below = upto;
                wait
            })
            .collect(),
    )
}

/// Steady state of a queue whose number in the system is bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// Probability that an arrival is turned away (0 in a closed system).
    pub blocking: f64,
    /// Mean number waiting or in service.
    pub number: f64,
    /// Mean number in service.
    pub busy: f64,
    /// Mean wait of those that get in, seconds.
    pub wait_s: f64,
    /// Requests served per second.
    pub throughput_per_s: f64,
}

/// M/M/c/K: `servers` servers, at most `room` requests in the system (`room >= servers`), any `offered >= 0`.
///
/// `room == servers` is Erlang B. O(room). Source: Gross et al., 4th ed., chapter 2 (queues with truncation).
pub fn mmck(offered: f64, servers: u32, room: u32, mean_service_s: f64) -> Option<Bounded> {
    if !(offered.is_finite() && offered >= 0.0) || servers == 0 || room < servers {
        return None;
    }
    positive(mean_service_s)?;
    let weights = birth_death(room, |_| offered, |n| f64::from(n.min(servers)));
    let blocking = weights[room as usize];
    let accepted_per_s = offered * (1.0 - blocking) / mean_service_s;
    Some(bounded(&weights, servers, blocking, accepted_per_s))
}

/// Machine repair, M/M/c with `users` users that think, send, wait for the answer and think again.
///
/// `users >= 1`, `servers >= 1`, both means `> 0`. The service must be exponential; the think time may have any
/// law with this mean. O(users). Source: Gross et al., 4th ed., chapter 2 (finite-source queues); insensitivity to
/// the law of the think time: Bunday and Scraton 1980, *The G/M/r machine interference model*.
pub fn machine_repair(users: u32, servers: u32, mean_think_s: f64, mean_service_s: f64) -> Option<Bounded> {
    if users == 0 || servers == 0 {
        return None;
    }
    let ratio = positive(mean_service_s)? / positive(mean_think_s)?;
    let weights = birth_death(users, |n| f64::from(users - n) * ratio, |n| f64::from(n.min(servers)));
    let thinking: f64 = weights.iter().zip(0..).map(|(p, n)| p * f64::from(users - n)).sum();
    Some(bounded(&weights, servers, 0.0, thinking / mean_think_s))
}

/// Little's law: the mean number in a system with this throughput and mean time in it.
///
/// Both `>= 0` and finite. Source: Little 1961.
pub fn little_number(throughput_per_s: f64, mean_time_s: f64) -> Option<f64> {
    let number = throughput_per_s * mean_time_s;
    (throughput_per_s >= 0.0 && mean_time_s >= 0.0 && number.is_finite()).then_some(number)
}

/// Probabilities of 0..=most in a birth-death chain with rates in units of one server's service rate.
fn birth_death(most: u32, birth: impl Fn(u32) -> f64, death: impl Fn(u32) -> f64) -> Vec<f64> {
    let mut weights = vec![1.0];
    let mut total = 1.0;
    for n in 1..=most {
        let weight = weights[n as usize - 1] * birth(n - 1) / death(n);
        weights.push(weight);
        total += weight;
        if total > 1e200 {
            weights.iter_mut().for_each(|w| *w /= total);
            total = 1.0;
        }
    }
    weights.iter_mut().for_each(|w| *w /= total);
    weights
}

fn bounded(weights: &[f64], servers: u32, blocking: f64, throughput_per_s: f64) -> Bounded {
    let mean = |of: &dyn Fn(u32) -> u32| weights.iter().zip(0..).map(|(p, n)| p * f64::from(of(n))).sum();
    let number: f64 = mean(&|n| n);
    let busy: f64 = mean(&|n| n.min(servers));
    let waiting: f64 = mean(&|n| n.saturating_sub(servers));
    let wait_s = if throughput_per_s > 0.0 { waiting / throughput_per_s } else { 0.0 };
    Bounded { blocking, number, busy, wait_s, throughput_per_s }
}

fn positive(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

fn load(rho: f64) -> Option<f64> {
    (0.0..1.0).contains(&rho).then_some(rho)
}

fn tail_of(q: f64) -> Option<f64> {
    (0.0..1.0).contains(&q).then_some(1.0 - q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64, relative: f64) {
        let found = found.unwrap();
        assert!((found / expected - 1.0).abs() <= relative, "{found} is not within {relative} of {expected}");
    }

    #[test]
    fn erlang_b_gives_the_published_traffic_tables() {
        // Offered load in Erlangs at which `servers` block 1 % and 2 % of calls: the tables of ITU-D, Teletraffic
        // Engineering, which print four digits.
        let at_1_percent = [(1, 0.0101), (5, 1.361), (10, 4.461), (20, 12.03), (50, 37.90), (100, 84.06)];
        let at_2_percent = [(1, 0.0204), (5, 1.657), (10, 5.084), (20, 13.18), (50, 40.26), (100, 87.97)];
        for (rows, blocking) in [(at_1_percent, 0.01), (at_2_percent, 0.02)] {
            for (servers, offered) in rows {
                close(erlang_b(offered, servers), blocking, 0.006);
            }
        }
        close(erlang_b(1.0, 1), 0.5, 1e-15);
        assert_eq!(erlang_b(0.0, 3), Some(0.0));
    }

    #[test]
    fn erlang_c_equals_its_defining_sum() {
        for (offered, servers) in [(1.0, 2), (8.0, 10), (2.0, 3), (0.5, 1), (39.0, 40)] {
            let count = f64::from(servers);
            let mut term = 1.0;
            let mut below = 1.0;
            for n in 1..servers {
                term *= offered / f64::from(n);
                below += term;
            }
            let top = term * offered / count * count / (count - offered);
            close(erlang_c(offered, servers), top / (below + top), 1e-12);
        }
        close(erlang_c(1.0, 2), 1.0 / 3.0, 1e-12);
        close(erlang_c(8.0, 10), 0.4092, 1e-4);
    }

    #[test]
    fn the_eye_clinic_of_gross_and_harris_waits_as_printed() {
        // Gross et al., chapter 2, the M/M/c example: 3 doctors, 6 patients an hour, 20 minutes each: Lq = 8/9, L = 26/9.
        let (offered, hour) = (2.0, 3600.0);
        close(mmc_mean_wait(offered, 3, hour / 3.0), 8.0 / 9.0 / 6.0 * hour, 1e-12);
        close(mmc_mean_response(offered, 3, hour / 3.0), 26.0 / 9.0 / 6.0 * hour, 1e-12);
    }

    #[test]
    fn the_repair_shop_of_gross_and_harris_has_the_printed_queue() {
        // Gross et al., chapter 2, the finite-source example: 5 machines that run 30 hours, 2 repairers of 3 hours: L = 0.465.
        let shop = machine_repair(5, 2, 30.0, 3.0).unwrap();
        close(Some(shop.number), 0.465, 1e-3);
        close(Some(shop.throughput_per_s), (5.0 - shop.number) / 30.0, 1e-12);
        close(Some(shop.busy), shop.throughput_per_s * 3.0, 1e-12);
    }

    #[test]
    fn the_single_server_is_a_case_of_the_many() {
        for rho in [0.1, 0.5, 0.9, 0.99] {
            close(mmc_mean_wait(rho, 1, 0.2), mm1_mean_wait(rho, 0.2).unwrap(), 1e-12);
            close(mg1_mean_wait(rho, 0.2, 1.0), mm1_mean_wait(rho, 0.2).unwrap(), 1e-12);
            close(ps_mean_response(rho, 0.2), mm1_mean_wait(rho, 0.2).unwrap() + 0.2, 1e-12);
            close(md1_mean_wait(rho, 0.2), mm1_mean_wait(rho, 0.2).unwrap() / 2.0, 1e-12);
            for q in [0.0, 0.5, 0.99, 0.9999] {
                let exact = mm1_response_quantile(rho, 0.2, q).unwrap();
                let found = mmc_response_quantile(rho, 1, 0.2, q).unwrap();
                assert!((found - exact).abs() <= 1e-9 * (1.0 + exact), "{rho} {q}: {found} {exact}");
            }
        }
        // Kleinrock I, fig. 3.4: at rho = 0.9 nine are in the system.
        close(mm1_mean_number(0.9), 9.0, 1e-12);
    }

    #[test]
    fn the_supermarkets_tails_solve_their_fixed_point() {
        // In equilibrium as many lines grow beyond `i` as shrink from `i + 1`: rho (s_i^d - s_(i+1)^d) = s_(i+1) - s_(i+2),
        // solved by s_0 = 1 and s_(i+1) = rho s_i^d.
        for rho in [0.5, 0.8, 0.9, 0.99] {
            for choices in [2, 3, 5] {
                let tails =
                    std::iter::successors(Some(rho), |&tail: &f64| Some(rho * tail.powi(choices as i32)));
                let mean = tails.take_while(|&tail| tail > 1e-18).sum();
                close(supermarket_mean_number(rho, choices), mean, 1e-12);
            }
        }
        close(supermarket_mean_number(0.9, 1), mm1_mean_number(0.9).unwrap(), 1e-12);
        assert!(supermarket_mean_number(0.9, 3).unwrap() < supermarket_mean_number(0.9, 2).unwrap());
    }

    #[test]
    fn quantiles_invert_their_tails_even_where_service_and_wait_have_equal_rates() {
        for (offered, servers) in [(2.0, 3), (1.999_999_999, 3), (39.999, 40), (0.1, 8), (7.0, 8)] {
            for q in [0.5, 0.99, 0.999_999] {
                let at = mmc_response_quantile(offered, servers, 2.0, q).unwrap();
                let beyond = mmc_response_tail(offered, servers, 2.0, at).unwrap();
                assert!((beyond / (1.0 - q) - 1.0).abs() < 1e-6, "{offered} {servers} {q}: {beyond}");
            }
        }
        assert_eq!(mmc_wait_quantile(1.0, 2, 1.0, 0.5), Some(0.0));
        close(mmc_wait_quantile(1.0, 2, 1.0, 0.9), (1.0f64 / 0.3).ln(), 1e-12);
    }

    #[test]
    fn the_response_tail_integrates_to_the_mean_response() {
        for (offered, servers) in [(0.8, 1), (2.0, 3), (7.5, 8)] {
            let width = 1e-3;
            let tail = |i: u32| mmc_response_tail(offered, servers, 1.0, f64::from(i) * width).unwrap();
            let area: f64 = (0..100_000).map(|i| (tail(i) + tail(i + 1)) / 2.0 * width).sum();
            close(mmc_mean_response(offered, servers, 1.0), area, 1e-5);
        }
    }

    #[test]
    fn a_queue_without_places_blocks_as_erlang_b_and_a_long_one_waits_as_erlang_c() {
        close(Some(mmck(8.0, 10, 10, 1.0).unwrap().blocking), erlang_b(8.0, 10).unwrap(), 1e-12);
        let long = mmck(8.0, 10, 2_000, 1.0).unwrap();
        close(Some(long.wait_s), mmc_mean_wait(8.0, 10, 1.0).unwrap(), 1e-9);
        // M/M/1/K: blocking (1 - r) r^K / (1 - r^(K+1)), Kleinrock I, section 3.6; overload is allowed.
        for (offered, room) in [(0.5f64, 4i32), (2.0, 7)] {
            let exact = (1.0 - offered) * offered.powi(room) / (1.0 - offered.powi(room + 1));
            close(Some(mmck(offered, 1, room as u32, 1.0).unwrap().blocking), exact, 1e-12);
        }
        let flooded = mmck(50.0, 1, 5_000, 1.0).unwrap();
        close(Some(flooded.throughput_per_s), 1.0, 1e-12);
    }

    #[test]
    fn priorities_share_the_wait_that_fifo_would_have() {
        // Kleinrock's conservation law: with equal services the load-weighted mean wait does not change.
        let loads = [0.4, 1.0, 0.9];
        let waits = mmc_priority_mean_waits(&loads, 3, 0.5).unwrap();
        assert!(waits.is_sorted());
        let total: f64 = loads.iter().sum();
        let mean = waits.iter().zip(loads).map(|(w, a)| w * a).sum::<f64>() / total;
        close(mmc_mean_wait(total, 3, 0.5), mean, 1e-12);
        // M/M/1 with two classes, Cobham: W1 = W0 / (1 - r1) with W0 = rho s.
        let two = mmc_priority_mean_waits(&[0.3, 0.5], 1, 1.0).unwrap();
        close(Some(two[0]), 0.8 / 0.7, 1e-12);
        close(Some(two[1]), 0.8 / 0.7 / 0.2, 1e-12);
    }

    #[test]
    fn outside_its_domain_a_formula_says_nothing() {
        assert_eq!(mmc_mean_wait(3.0, 3, 1.0), None);
        assert_eq!(erlang_c(f64::NAN, 3), None);
        assert_eq!(erlang_b(1.0, 0), None);
        assert_eq!(erlang_b(-1.0, 2), None);
        assert_eq!(mm1_mean_wait(1.0, 1.0), None);
        assert_eq!(mm1_mean_wait(-0.1, 1.0), None);
        assert_eq!(supermarket_mean_number(1.0, 2), None);
        assert_eq!(supermarket_mean_number(0.5, 0), None);
        assert_eq!(mg1_mean_wait(0.5, 1.0, -1.0), None);
        assert_eq!(ps_mean_response(1.0, 1.0), None);
        assert_eq!(ps_mean_response(0.5, 0.0), None);
        assert_eq!(mg1_mean_wait(0.5, 0.0, 1.0), None);
        assert_eq!(mmc_response_quantile(0.5, 1, 1.0, 1.0), None);
        assert_eq!(mmc_response_quantile(0.5, 1, f64::INFINITY, 0.5), None);
        assert_eq!(mmck(1.0, 3, 2, 1.0), None);
        assert_eq!(machine_repair(0, 1, 1.0, 1.0), None);
        assert_eq!(machine_repair(1, 1, 0.0, 1.0), None);
        assert_eq!(mmc_priority_mean_waits(&[], 1, 1.0), None);
        assert_eq!(little_number(f64::NAN, 1.0), None);
        assert_eq!(little_number(2.0, 3.0), Some(6.0));
    }
}
