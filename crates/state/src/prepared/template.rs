//! Query templates: one stored query that stands for all names with its prefix.
//!
//! In: a query with holes in the fields of its service, and a name that begins with the query's. Out: the query for that
//! name. Everything that can be wrong with a template is found when it is compiled, so that a stored one always renders.
//!
//! Outside rules: agent.md section 8; what is rendered and the texts of refusals were compared with Consul 1.8.7.

use tribune_filter::Pattern;
use tribune_types::prepared::{NAME_PREFIX_MATCH, PreparedQuery, QueryService};
use tribune_types::text::{Text, TextMap, text};

use super::format::{Format, Scope};

/// A template, ready to render.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pattern: Option<Pattern>,
    /// One format per field, in the order of [`each_field`].
    formats: Vec<Format>,
}

impl Template {
    /// Compiles the template of a query.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn compile(query: &PreparedQuery) -> Result<Template, String> {
        if &*query.template.kind != NAME_PREFIX_MATCH {
            return Err(format!("Bad Template.Type '{}'", query.template.kind));
        }
        let pattern = match &*query.template.regexp {
            "" => None,
            regexp => {
                let compiled = Pattern::compile(regexp);
                Some(compiled.map_err(|why| format!("Bad Regexp: {why}"))?)
            }
        };
        let mut formats = Vec::new();
        each_field(&mut query.service.clone(), &mut |path, field| {
            let format = Format::parse(field)
                .map_err(|why| format!("Bad format '{field}' in Service{path}: {why}"))?;
            formats.push(format);
            Ok(())
        })?;
        let template = Template { pattern, formats };
        // What only shows when holes are filled shows now, most of it.
        template.fill(query, &query.name, "")?;
        Ok(template)
    }

    /// The query for `name`, asked for by an agent in `segment`. A field that cannot be filled in stays as it is, which
    /// cannot happen for what compiles.
    ///
    /// # Errors
    /// A field that cannot be filled in for this name: a match that was to be a number is none.
    pub(crate) fn render(
        &self,
        query: &PreparedQuery,
        name: &str,
        segment: &str,
    ) -> Result<PreparedQuery, String> {
        let service = self.fill(query, name, segment)?;
        Ok(PreparedQuery {
            service,
            ..query.clone()
        })
    }

    fn fill(
        &self,
        query: &PreparedQuery,
        name: &str,
        segment: &str,
    ) -> Result<QueryService, String> {
        let matches = match &self.pattern {
            Some(pattern) => pattern.submatches(name),
            None => Vec::new(),
        };
        let variable = |asked: &str| {
            Some(match asked {
                "name.full" => name.to_owned(),
                "name.prefix" => query.name.to_string(),
                // In another letter case the name does not begin with the prefix, and is all suffix.
                "name.suffix" => name.strip_prefix(&*query.name).unwrap_or(name).to_owned(),
                "agent.segment" => segment.to_owned(),
                _ => return None,
            })
        };
        let matched = |n: i64| {
            let group = usize::try_from(n).ok().and_then(|n| matches.get(n));
            group.map_or_else(String::new, |group| (*group).to_owned())
        };
        let scope = Scope {
            variable: &variable,
            matched: &matched,
        };
        let mut service = query.service.clone();
        let mut formats = self.formats.iter();
        each_field(&mut service, &mut |path, field| {
            if let Some(format) = formats.next() {
                let filled = format.fill(&scope).map_err(|why| {
                    format!("Bad evaluation for '{field}' in Service{path}: {why}")
                })?;
                *field = text(&filled);
            }
            Ok(())
        })?;
        if query.template.remove_empty_tags
            && let Some(tags) = &mut service.tags
        {
            tags.retain(|tag| !tag.is_empty());
        }
        Ok(service)
    }
}

/// Calls `each` with every text of a query's service that is rendered, and where it stands. Keys of maps are none.
fn each_field(
    service: &mut QueryService,
    each: &mut dyn FnMut(&str, &mut Text) -> Result<(), String>,
) -> Result<(), String> {
    each(".Service", &mut service.service)?;
    list(
        ".Failover.Datacenters",
        &mut service.failover.datacenters,
        each,
    )?;
    list(".IgnoreCheckIDs", &mut service.ignore_check_ids, each)?;
    each(".Near", &mut service.near)?;
    list(".Tags", &mut service.tags, each)?;
    map(".NodeMeta", &mut service.node_meta, each)?;
    map(".ServiceMeta", &mut service.service_meta, each)
}

fn list(
    path: &str,
    items: &mut Option<Vec<Text>>,
    each: &mut dyn FnMut(&str, &mut Text) -> Result<(), String>,
) -> Result<(), String> {
    for (at, item) in items.iter_mut().flatten().enumerate() {
        each(&format!("{path}[{at}]"), item)?;
    }
    Ok(())
}

fn map(
    path: &str,
    pairs: &mut Option<TextMap>,
    each: &mut dyn FnMut(&str, &mut Text) -> Result<(), String>,
) -> Result<(), String> {
    let Some(pairs) = pairs else {
        return Ok(());
    };
    let mut rendered = TextMap::new();
    for (key, value) in pairs.iter() {
        let mut value = value.clone();
        each(&format!("{path}[{key}]"), &mut value)?;
        rendered.insert(key.clone(), value);
    }
    *pairs = rendered;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tribune_types::prepared::{QueryFailover, QueryTemplate};

    use super::*;

    fn template(name: &str, regexp: &str, service: &str) -> PreparedQuery {
        PreparedQuery {
            name: text(name),
            template: QueryTemplate {
                kind: text(NAME_PREFIX_MATCH),
                regexp: text(regexp),
                remove_empty_tags: true,
            },
            service: QueryService {
                service: text(service),
                ..QueryService::default()
            },
            ..PreparedQuery::default()
        }
    }

    #[test]
    fn names_are_taken_apart_by_prefix_and_expression() {
        // (prefix, expression, service, name, want)
        for (prefix, regexp, service, name, want) in [
            ("geo-", "", "${name.suffix}", "geo-db", "db"),
            (
                "geo-",
                "",
                "${name.prefix}|${name.full}",
                "geo-db",
                "geo-|geo-db",
            ),
            (
                "Geo-",
                "",
                "${name.prefix}${name.suffix}",
                "gEO-dB",
                "Geo-gEO-dB",
            ),
            ("", "", "${name.full}${name.prefix}", "any", "any"),
            (
                "geo-",
                "^geo-(.*?)-([^-]+?)$",
                "${match(2)}.${match(1)}",
                "geo-a-b-c",
                "c.a-b",
            ),
            ("geo-", "^geo-(.*?)-([^-]+?)$", "${match(2)}x", "geo-a", "x"),
            ("geo-", "", "${match(0)}${agent.segment}", "geo-a", "seg"),
        ] {
            let query = template(prefix, regexp, service);
            let compiled = Template::compile(&query).unwrap();
            let rendered = compiled.render(&query, name, "seg").unwrap();
            assert_eq!(&*rendered.service.service, want, "{service} of {name}");
        }
    }

    #[test]
    fn every_text_of_the_service_is_rendered_and_empty_tags_go() {
        let hole = || text("${name.suffix}");
        let mut query = template("t-", "", "${name.suffix}");
        query.service = QueryService {
            failover: QueryFailover {
                nearest_n: 2,
                datacenters: Some(vec![hole(), text("dc9")]),
            },
            ignore_check_ids: Some(vec![hole()]),
            near: hole(),
            tags: Some(vec![hole(), text("!${name.suffix}"), text("${match(1)}")]),
            node_meta: Some([(hole(), hole())].into_iter().collect()),
            service_meta: Some([(text("k"), hole())].into_iter().collect()),
            ..query.service
        };
        let compiled = Template::compile(&query).unwrap();
        let service = compiled.render(&query, "t-x", "").unwrap().service;
        assert_eq!(
            service.failover.datacenters,
            Some(vec![text("x"), text("dc9")])
        );
        assert_eq!(service.failover.nearest_n, 2);
        assert_eq!(service.ignore_check_ids, Some(vec![text("x")]));
        assert_eq!(&*service.near, "x");
        assert_eq!(service.tags, Some(vec![text("x"), text("!x")]));
        let pair = |key: &str| Some([(text(key), text("x"))].into_iter().collect());
        assert_eq!(service.node_meta, pair("${name.suffix}"));
        assert_eq!(service.service_meta, pair("k"));
        query.template.remove_empty_tags = false;
        let service = compiled.render(&query, "t-x", "").unwrap().service;
        assert_eq!(service.tags.map(|tags| tags.len()), Some(3));
    }
}
