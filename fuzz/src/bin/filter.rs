//! Filter expressions, on every schema with a record of it. The first byte chooses the schema.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_filter::records::ServiceNode;
use tribune_filter::{Fields, Filter, schemas};
use tribune_fuzz::records;

// A regular expression may take 10 MiB.
tribune_fuzz::target! { memory: 64, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let Some((&which, text)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let (node, service) = (records::node(), records::service());
    let (schema, record): (_, Box<dyn Fields + '_>) = match which % 6 {
        0 => (&schemas::NODE, Box::new(records::node())),
        1 => (&schemas::NODE_INFO, Box::new(records::node_dump())),
        2 => (
            &schemas::SERVICE_NODE,
            Box::new(ServiceNode(&node, &service)),
        ),
        3 => (&schemas::NODE_SERVICE, Box::new(records::service())),
        4 => (&schemas::HEALTH_CHECK, Box::new(records::check())),
        _ => (&schemas::CHECK_SERVICE_NODE, Box::new(records::instance())),
    };
    match Filter::parse(text, schema) {
        Err(error) => drop(error.to_string()),
        Ok(filter) => {
            let passes = filter.matches(&*record);
            assert_eq!(filter.source(), text);
            // It may be too deep or too long now.
            if let Ok(opposite) = Filter::parse(&format!("not ({text})"), schema) {
                assert_ne!(
                    opposite.matches(&*record),
                    passes,
                    "the opposite says the same"
                );
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let texts: &[(u8, &str)] = &[
        (
            0,
            "Node == n1 and Meta.env == `prod` or not (Datacenter != \"dc\\u0031\")",
        ),
        (
            0,
            "Meta is not empty and linux in Meta.os and env not in Meta",
        ),
        (
            0,
            "Address matches \"^10\\\\.[0-9]+(a|b)*$\" and TaggedAddresses[\"lan\"] not matches `(?i)x{2,3}`",
        ),
        (1, "Services.Port == 8080 and Checks.Status contains pass"),
        (1, "Services.Proxy.Upstreams.DestinationName == db"),
        (
            2,
            "ServiceTags contains v1 and ServicePort == -1 and ServiceMeta.version != 3",
        ),
        (
            2,
            "ServiceTaggedAddresses.lan.Port == 80 and ServiceWeights.Passing == 5",
        ),
        (
            3,
            "Kind == `connect-proxy` and EnableTagOverride == true and Tags is empty",
        ),
        (
            3,
            "Proxy.Expose.Paths.Path matches `/h.*` or Connect.Native == false",
        ),
        (4, "CheckID == `service:web1` and Output not contains OK"),
        (
            5,
            "Service.Proxy.MeshGateway.Mode == remote and Node.Meta.env in Node.Name",
        ),
        (
            5,
            "Checks.ServiceTags contains v1 and Service.Weights.Warning != 1.5",
        ),
    ];
    texts
        .iter()
        .map(|(which, text)| [&[*which], text.as_bytes()].concat())
        .collect()
}
