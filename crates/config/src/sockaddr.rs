//! Address templates (`{{ GetInterfaceIP "eth0" }}`) as the go-sockaddr library writes them.
//!
//! In: a text with templates and the interfaces of the machine. Out: the text with every template replaced. The common
//! functions are there; an unknown one is an error that names it. No recursion, no loops: a template is a pipeline.

mod eval;
mod parse;

use crate::interfaces::Interfaces;

/// Replaces the templates of `text`.
pub(crate) fn expand(text: &str, host: &Interfaces) -> Result<String, String> {
    let trimmed = text.trim();
    if !trimmed.contains("{{") {
        return Ok(trimmed.to_owned());
    }
    let fail =
        |why: String| format!("error parsing {text:?}: unable to parse template {text:?}: {why}");
    let mut out = String::new();
    let mut rest = trimmed;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((inner, after)) = parse::split_action(after) else {
            return Err(fail(
                "template: sockaddr.Parse:1: unclosed action".to_owned(),
            ));
        };
        let calls = parse::pipeline(inner).map_err(fail)?;
        out.push_str(&eval::run(&calls, host).map_err(fail)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out.trim().to_owned())
}

#[cfg(test)]
mod tests;
