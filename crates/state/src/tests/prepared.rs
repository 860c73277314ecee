//! Prepared queries: what may be stored, what names find, what is left of a service, how they end.

use std::convert::Infallible;

use tribune_types::catalog::Status;
use tribune_types::command::Command;
use tribune_types::error::StateError;
use tribune_types::id::{Index, Uuid};
use tribune_types::prepared::{
    NAME_PREFIX_MATCH, PreparedQuery, QueryFailover, QueryService, QueryTemplate,
};
use tribune_types::query::{Query, Reply};
use tribune_types::session::Session;
use tribune_types::snapshot::Record;
use tribune_types::text::{Text, text};

use super::{Bench, check, node, register, service, uuid};
use crate::{Carry, State, WatchKey};

fn query(id: u8, name: &str) -> PreparedQuery {
    PreparedQuery {
        id: text(&uuid(id).to_string()),
        name: text(name),
        service: QueryService {
            service: text("web"),
            ..QueryService::default()
        },
        ..PreparedQuery::default()
    }
}

fn template(id: u8, name: &str, service: &str) -> PreparedQuery {
    let mut query = query(id, name);
    query.template = QueryTemplate {
        kind: text(NAME_PREFIX_MATCH),
        ..QueryTemplate::default()
    };
    query.service.service = text(service);
    query
}

fn put(query: PreparedQuery) -> Command {
    Command::QuerySet(Box::new(query))
}

fn stored(bench: &Bench) -> Vec<(Text, u64, u64)> {
    let (Reply::PreparedQueries(queries), _) = bench.read(&Query::PreparedQueries) else {
        panic!("no queries");
    };
    let shown = |q: &PreparedQuery| (q.name.clone(), q.create.0, q.modify.0);
    queries.iter().map(|q| shown(q)).collect()
}

/// The service that a name leads to.
fn resolved(bench: &Bench, name: &str) -> Result<Text, StateError> {
    let query = bench.state.version().resolve_query(name, "")?;
    Ok(query.service.service.clone())
}

#[test]
fn a_query_is_stored_changed_and_forgotten_under_its_own_indexes() {
    let mut b = Bench::default();
    let applied = b.done(put(query(1, "q")));
    assert_eq!(applied.touched, [WatchKey::PreparedQueries]);
    b.done(super::set("k", "v"));
    b.done(put(query(1, "other")));
    assert_eq!(stored(&b), [(text("other"), 1, 3)]);
    assert_eq!(b.read(&Query::PreparedQueries).1, Index(3));
    assert_eq!(b.read(&Query::PreparedQuery { id: uuid(1) }).1, Index(3));
    assert_eq!(
        resolved(&b, "q"),
        Err(StateError::QueryNotFound),
        "the old name is free"
    );
    b.done(put(query(2, "q")));
    b.done(Command::QueryDelete(uuid(1)));
    assert_eq!(b.read(&Query::PreparedQueries).1, Index(5));
    let touched = b.done(Command::QueryDelete(uuid(1))).touched;
    assert!(touched.is_empty(), "there is none any more");
    let version = b.state.version();
    let gone = version.read(
        &Query::PreparedQuery { id: uuid(1) },
        &Default::default(),
        &mut Default::default(),
    );
    assert_eq!(gone.unwrap_err(), StateError::QueryNotFound);
}

#[test]
fn names_are_unique_in_any_letter_case_and_no_ids() {
    let mut b = Bench::default();
    b.done(put(query(1, "Geo")));
    b.done(put(template(2, "", "any")));
    let id = uuid(1).to_string();
    // (query, text); compared with Consul 1.8.7.
    for (refused, want) in [
        (query(3, "gEO"), "name 'gEO' aliases an existing query name"),
        (
            template(3, "geo", "x"),
            "name 'geo' aliases an existing query name",
        ),
        (
            query(3, &id),
            "name '01010101-0101-0101-0101-010101010101' aliases an existing query ID",
        ),
        (
            template(3, "", "x"),
            "a query template with an empty name already exists",
        ),
    ] {
        assert_eq!(b.refused(put(refused)), want);
    }
    b.done(put(query(1, "GEO")));
    b.done(put(template(2, "", "other")));
    assert_eq!(stored(&b).len(), 2);
}

#[test]
fn templates_that_make_no_sense_are_refused() {
    let mut b = Bench::default();
    let of = |change: fn(&mut PreparedQuery)| {
        let mut query = template(1, "t-", "x");
        change(&mut query);
        put(query)
    };
    for (refused, want) in [
        (
            of(|q| q.template.kind = text("x")),
            "failed compiling template: Bad Template.Type 'x'",
        ),
        (
            of(|q| q.template.regexp = text("(")),
            "failed compiling template: Bad Regexp: error parsing regexp: missing closing ): `(`",
        ),
        (
            of(|q| q.service.tags = Some(vec![text("a"), text("${")])),
            "failed compiling template: Bad format '${' in Service.Tags[1]: parse error: syntax error",
        ),
        (
            of(|q| q.service.node_meta = Some([(text("k"), text("${x}"))].into_iter().collect())),
            "failed compiling template: Bad evaluation for '${x}' in Service.NodeMeta[k]: 1:3: unknown variable accessed: x",
        ),
    ] {
        assert_eq!(b.refused(refused), want);
    }
    // What is no template is not looked at.
    let mut plain = query(1, "q");
    plain.template.regexp = text("(");
    plain.service.service = text("${");
    b.done(put(plain));
}

#[test]
fn the_longest_prefix_wins_and_a_name_of_its_own_wins_over_all() {
    let mut b = Bench::default();
    b.done(put(template(
        1,
        "",
        "all:${name.full}:${name.prefix}:${name.suffix}",
    )));
    b.done(put(template(
        2,
        "Geo-",
        "geo:${name.prefix}:${name.suffix}",
    )));
    b.done(put(template(
        3,
        "geo-db-",
        "db:${name.prefix}:${name.suffix}",
    )));
    b.done(put(query(4, "geo-db-x")));
    // (name, service); compared with Consul 1.8.7.
    for (name, want) in [
        ("foo", "all:foo::foo"),
        ("geo", "all:geo::geo"),
        ("", "all:::"),
        ("Geo-x", "geo:Geo-:x"),
        ("gEO-x", "geo:Geo-:gEO-x"),
        ("geo-db", "geo:Geo-:geo-db"),
        ("geo-db-", "db:geo-db-:"),
        ("geo-db-xy", "db:geo-db-:xy"),
        ("geo-dc", "geo:Geo-:geo-dc"),
        ("geo-DB-X", "web"),
        ("a/b \u{e9}", "all:a/b \u{e9}::a/b \u{e9}"),
        ("04040404-0404-0404-0404-040404040404", "web"),
        (
            "99999999-0404-0404-0404-040404040404",
            "all:99999999-0404-0404-0404-040404040404::99999999-0404-0404-0404-040404040404",
        ),
    ] {
        assert_eq!(resolved(&b, name).as_deref(), Ok(want), "{name}");
    }
    assert_eq!(
        resolved(&b, &uuid(2).to_string()).unwrap_err().to_string(),
        "prepared query templates can only be resolved up by name, not by ID"
    );
    b.done(Command::QueryDelete(uuid(1)));
    assert_eq!(resolved(&b, "foo"), Err(StateError::QueryNotFound));
    b.done(Command::QueryDelete(uuid(3)));
    assert_eq!(
        resolved(&b, "GEO-DB-xy").as_deref(),
        Ok("geo:Geo-:GEO-DB-xy")
    );
}

#[test]
fn prefixes_are_found_among_many_neighbours() {
    let mut b = Bench::default();
    for (id, prefix) in ["a", "ab", "abc", "abd", "b", "\u{e9}", "\u{e9}\u{e8}"]
        .iter()
        .enumerate()
    {
        let id = u8::try_from(id + 1).unwrap();
        b.done(put(template(id, prefix, "${name.prefix}")));
    }
    for (name, want) in [
        ("abcx", Some("abc")),
        ("abb", Some("ab")),
        ("abe", Some("ab")),
        ("azzz", Some("a")),
        ("aa", Some("a")),
        ("bz", Some("b")),
        ("\u{e9}\u{ea}", Some("\u{e9}")),
        ("\u{e9}\u{e8}x", Some("\u{e9}\u{e8}")),
        ("", None),
        ("c", None),
        ("_", None),
    ] {
        let want = want.map(text).ok_or(StateError::QueryNotFound);
        assert_eq!(resolved(&b, name), want, "{name}");
    }
}

fn session(b: &mut Bench, id: u8) {
    b.done(register(node("n")));
    b.done(Command::SessionCreate(Box::new(Session {
        id: uuid(id),
        node: text("n"),
        ..Session::default()
    })));
}

#[test]
fn a_query_ends_with_its_session() {
    let mut b = Bench::default();
    session(&mut b, 9);
    let bound = |id: u8, name: &str, session: &str| {
        put(PreparedQuery {
            session: text(session),
            ..query(id, name)
        })
    };
    let own = uuid(9).to_string();
    for (refused, want) in [
        (
            "x",
            "invalid session: index error: UUID must be 36 characters",
        ),
        (
            "08080808-0808-0808-0808-080808080808",
            "invalid session \"08080808-0808-0808-0808-080808080808\"",
        ),
    ] {
        assert_eq!(b.refused(bound(1, "q", refused)), want);
    }
    b.done(bound(1, "", &own));
    b.done(bound(2, "q", &own.to_uppercase()));
    b.done(bound(3, "rebound", &own));
    b.done(put(query(3, "rebound")));
    let applied = b.done(Command::SessionDestroy(uuid(9)));
    assert!(applied.touched.contains(&WatchKey::PreparedQueries));
    let names: Vec<Text> = stored(&b).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, [text("rebound")]);
    assert_eq!(b.read(&Query::PreparedQueries).1, Index(b.index));
}

#[test]
fn what_is_left_of_a_service_is_what_the_query_wants() {
    let mut b = Bench::default();
    let table = [
        ("n0", "0", Status::Passing, ["a", "C"]),
        ("n1", "1", Status::Warning, ["A", "b"]),
        ("n2", "0", Status::Critical, ["A", "b"]),
    ];
    for (name, rack, status, tags) in table {
        let mut register = node(name);
        register.address = text(&format!("10.0.0.{}", &name[1..]));
        register.node_meta = Some([(text("rack"), text(rack))].into_iter().collect());
        let mut web = service("web", "web");
        web.tags = tags.iter().map(|tag| text(tag)).collect();
        web.meta = Some([(text("v"), text(&name[1..]))].into_iter().collect());
        register.service = Some(web);
        register.checks = vec![check("c", "web", status)];
        b.done(super::register(register));
    }
    let version = b.state.version();
    let found = |change: fn(&mut QueryService), connect: bool| {
        let mut query = query(1, "q");
        query.service.service = text("WEB");
        change(&mut query.service);
        let found = version.query_instances(&query, connect);
        let names: Vec<String> = found.iter().map(|i| i.node.name.to_string()).collect();
        names.join(" ")
    };
    fn tags(tags: &[&str]) -> Option<Vec<Text>> {
        Some(tags.iter().map(|tag| text(tag)).collect())
    }
    type Change = fn(&mut QueryService);
    // (change, nodes); compared with Consul 1.8.7.
    let table: [(Change, &str); 15] = [
        (|_| {}, "n0 n1"),
        (|q| q.only_passing = true, "n0"),
        (|q| q.ignore_check_ids = tags(&["c"]), "n0 n1 n2"),
        (|q| q.ignore_check_ids = tags(&["C"]), "n0 n1"),
        (|q| q.tags = tags(&["a"]), "n0 n1"),
        (|q| q.tags = tags(&["B"]), "n1"),
        (|q| q.tags = tags(&["!b"]), "n0"),
        (|q| q.tags = tags(&["!B", "a"]), "n0"),
        (|q| q.tags = tags(&[""]), ""),
        (|q| q.tags = tags(&["!"]), "n0 n1"),
        (|q| q.tags = tags(&["a", "!c"]), "n1"),
        (
            |q| q.node_meta = Some([(text("rack"), text("0"))].into_iter().collect()),
            "n0",
        ),
        (
            |q| q.service_meta = Some([(text("v"), text("1"))].into_iter().collect()),
            "n1",
        ),
        (|q| q.service_meta = Some(Default::default()), "n0 n1"),
        (|q| q.connect = true, ""),
    ];
    for (at, (change, want)) in table.into_iter().enumerate() {
        assert_eq!(found(change, false), want, "row {at}");
    }
    assert_eq!(found(|_| {}, true), "");
    assert_eq!(version.node_with_address("10.0.0.1").as_deref(), Some("n1"));
    assert_eq!(version.node_with_address("10.0.0.9"), None);
}

#[test]
fn a_restored_query_is_found_and_bound_as_before_whatever_it_refers_to() {
    let mut b = Bench::default();
    session(&mut b, 9);
    let mut bound = template(1, "geo-", "${name.suffix}");
    bound.session = text(&uuid(9).to_string());
    bound.service.failover = QueryFailover {
        nearest_n: 2,
        datacenters: Some(Vec::new()),
    };
    b.done(put(bound));
    let restored = |records: Vec<Record>| {
        State::restore(
            records.into_iter().map(Ok::<_, Infallible>),
            Carry::default(),
        )
        .unwrap()
    };
    let records: Vec<Record> = b.state.version().export().collect();
    let copy = restored(records.clone());
    assert_eq!(copy.version().digest(), b.state.version().digest());
    let original = std::mem::replace(&mut b.state, copy);
    assert_eq!(resolved(&b, "geo-web").as_deref(), Ok("web"));
    b.done(Command::SessionDestroy(uuid(9)));
    assert!(stored(&b).is_empty());
    drop(original);
    // Without its session, and one whose template does not compile.
    let mut odd = template(2, "odd-", "${");
    odd.modify = Index(70);
    let mut records: Vec<Record> = records
        .into_iter()
        .filter(|r| matches!(r, Record::PreparedQuery(_)))
        .collect();
    records.push(Record::PreparedQuery(Box::new(odd)));
    b.state = restored(records);
    assert_eq!(stored(&b).len(), 2);
    assert_eq!(b.read(&Query::PreparedQueries).1, Index(70));
    assert!(matches!(resolved(&b, "odd-x"), Err(StateError::Other(_))));
    b.done(Command::QueryDelete(Uuid([2; 16])));
    assert_eq!(resolved(&b, "odd-x"), Err(StateError::QueryNotFound));
}
