//! `[live]` and `[workloads.NAME.live]`.

use crate::scenario::decode::At;
use crate::scenario::diagnostic::Errors;
use crate::scenario::leaf::Text;
use crate::scenario::live::{Api, Dialect, Live, TokenPrices, Trouble, Validity, Wire};
use crate::scenario::live_file::{ApiWord, DialectWord, LiveFile, TroubleFile, WireFile};

/// The live side of a scenario.
pub(super) fn resolve(file: &LiveFile, errors: &mut Errors) -> Live {
    let targets = file.targets.iter().flat_map(|targets| &targets.value);
    for target in targets.clone() {
        check_target(target, errors);
    }
    let prices = file
        .prices
        .as_ref()
        .map(|at| TokenPrices { prompt: at.value.prompt.value.0, output: at.value.output.value.0 });
    let validity = &file.validity.value;
    Live {
        targets: targets.map(|at| at.value.0.clone()).collect(),
        dialect: match file.dialect.value {
            DialectWord::OpenAi => Dialect::OpenAi,
            DialectWord::DigitalOcean => Dialect::DigitalOcean,
        },
        prices,
        validity: Validity {
            lag: validity.lag.value.0,
            late: validity.late.value.0,
            on_time: validity.on_time.value.0,
        },
        trouble: trouble(&file.trouble, errors),
    }
}

/// A target is a prefix of URLs with a whole host, so that `https://api.example` does not allow
/// `https://api.example.evil`.
fn check_target(target: &At<Text>, errors: &mut Errors) {
    let text = target.value.0.as_str();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
    if host.is_none_or(|host| host.is_empty() || host.contains(['@', ' '])) {
        let hint = "write `https://HOST` or `https://HOST/PATH`, without a user";
        errors.refuse_with(&target.place, format!("`{text}` is not the beginning of a URL"), hint);
    }
}

fn trouble(at: &At<TroubleFile>, errors: &mut Errors) -> Trouble {
    let file = &at.value;
    let trouble = Trouble {
        resets: file.resets.value.0,
        stalls: file.stalls.value.0,
        stall: file.stall.value.0,
        server_errors: file.server_errors.value.0,
        stream_errors: file.stream_errors.value.0,
    };
    let sum = trouble.resets + trouble.stalls + trouble.server_errors + trouble.stream_errors;
    if sum > 1.0 + 1e-9 {
        let percent = (sum * 1e4).round() / 100.0;
        let hint = "a request has one kind of trouble at most: lower them to 100 % together";
        errors.refuse_with(&at.place, format!("the shares sum to `{percent}%`"), hint);
    }
    trouble
}

/// How the requests of a workload look on the wire.
pub(super) fn wire(file: Option<&At<WireFile>>, errors: &mut Errors) -> Wire {
    let Some(at) = file else { return Wire::default() };
    let file = &at.value;
    let api = match file.api.value {
        ApiWord::Chat => Api::Chat,
        ApiWord::Completions => Api::Completions,
        ApiWord::Embeddings => Api::Embeddings,
        ApiWord::Databricks => Api::Databricks,
    };
    if let (Api::Embeddings, Some(stream)) = (api, &file.stream)
        && stream.value
    {
        let hint = "leave it out, or choose `api = \"chat\"`";
        errors.refuse_with(&stream.place, "`true`: embeddings are never streamed", hint);
    }
    if let Some(name) = &file.key_env {
        let text = name.value.0.as_str();
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || !text.chars().all(plain) {
            let hint = "name a variable such as `PROVIDER_API_KEY`; the key itself never belongs in a file";
            // What stands there may be a key.
            errors.refuse_secret(&name.place, "this is not the name of an environment variable", hint);
        }
    }
    Wire {
        api,
        stream: file.stream.as_ref().map_or(api != Api::Embeddings, |at| at.value),
        name: file.name.as_ref().map(|at| at.value.0.clone()),
        key_env: file.key_env.as_ref().map(|at| at.value.0.clone()),
    }
}
