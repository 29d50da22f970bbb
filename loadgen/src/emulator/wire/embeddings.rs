//! Answers to requests for embeddings: vectors that mean nothing, the same for the same input.

use super::script::Usage;
use std::fmt::Write as _;
use tidegate_sim::rng;

/// Length of a vector when nobody says.
const DIMENSIONS: u32 = 16;
/// Most numbers in an answer.
pub(super) const NUMBERS_MOST: u64 = 1 << 20;

/// The whole answer: `inputs` vectors. `model` is JSON already.
pub(super) fn object(
    model: &str,
    seed: u64,
    inputs: u32,
    dimensions: Option<u32>,
    base64: bool,
    usage: Usage,
) -> String {
    let dimensions = dimensions.unwrap_or(DIMENSIONS);
    let mut out = String::from(r#"{"object":"list","data":["#);
    for index in 0..inputs {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(out, r#"{comma}{{"object":"embedding","index":{index},"embedding":"#);
        let numbers = (0..dimensions).map(|at| number(seed, index, at));
        if base64 {
            let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
            out.push('"');
            in_base64(&bytes, &mut out);
            out.push('"');
        } else {
            out.push('[');
            for (at, number) in numbers.enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{number}");
            }
            out.push(']');
        }
        out.push('}');
    }
    let prompt = usage.prompt;
    let _ =
        write!(out, r#"],"model":{model},"usage":{{"prompt_tokens":{prompt},"total_tokens":{prompt}}}}}"#);
    out
}

/// A number from -1 to 1 with ten bits, so that it is written shortly and read exactly.
fn number(seed: u64, index: u32, at: u32) -> f32 {
    let hash = rng::mix(seed ^ rng::mix(u64::from(index) << 32 | u64::from(at)));
    (hash >> 54) as f32 / 512.0 - 1.0
}

/// Base64 with padding, RFC 4648 section 4.
fn in_base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            let mut out = String::new();
            in_base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn vectors_are_as_many_and_as_long_as_asked_for_and_repeat() {
        let usage = Usage { prompt: 5, cached: 0, output: 1 };
        let of = |seed| -> serde_json::Value {
            serde_json::from_str(&object("\"m\"", seed, 3, Some(4), false, usage)).unwrap()
        };
        let found = of(1);
        assert_eq!(found["data"].as_array().unwrap().len(), 3);
        assert_eq!(found["data"][2]["embedding"].as_array().unwrap().len(), 4);
        assert_eq!(found["usage"], serde_json::json!({ "prompt_tokens": 5, "total_tokens": 5 }));
        assert_eq!(found, of(1));
        assert_ne!(found["data"], of(2)["data"]);
        assert_ne!(found["data"][0]["embedding"], found["data"][1]["embedding"]);
    }
}
