//! What is said about methods that are not served: areas that are switched off, and names that do not exist.
//!
//! In: the name of a method that nobody serves. Out: the words of the original, which callers match.

/// Groups of methods that servers have. Some methods of them are not built here.
const GROUPS: [&str; 16] = [
    "ACL",
    "Catalog",
    "ConfigEntry",
    "ConnectCA",
    "Coordinate",
    "DiscoveryChain",
    "FederationState",
    "Health",
    "Intention",
    "Internal",
    "KVS",
    "Operator",
    "PreparedQuery",
    "Session",
    "Status",
    "Txn",
];

/// Methods that fail in this way while ACLs are off.
const ACL: [&str; 35] = [
    "Apply",
    "AuthMethodDelete",
    "AuthMethodList",
    "AuthMethodRead",
    "AuthMethodSet",
    "Authorize",
    "BindingRuleDelete",
    "BindingRuleList",
    "BindingRuleRead",
    "BindingRuleSet",
    "Bootstrap",
    "BootstrapTokens",
    "Get",
    "GetPolicy",
    "List",
    "Login",
    "Logout",
    "PolicyBatchRead",
    "PolicyDelete",
    "PolicyList",
    "PolicyRead",
    "PolicyResolve",
    "PolicySet",
    "RoleBatchRead",
    "RoleDelete",
    "RoleList",
    "RoleRead",
    "RoleResolve",
    "RoleSet",
    "TokenBatchRead",
    "TokenClone",
    "TokenDelete",
    "TokenList",
    "TokenRead",
    "TokenSet",
];

/// Why a method is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// Its area is switched off.
    Off(&'static str),
    /// It does not exist.
    Unknown(String),
}

/// Why `method` is not served.
pub(super) fn absent(method: &str) -> Absent {
    const NO_ACL: &str = "ACL support disabled";
    const NO_CONNECT: &str = "Connect must be enabled in order to use this endpoint";
    let Some((group, name)) = method.rsplit_once('.') else {
        return Absent::Unknown(format!("rpc: service/method request ill-formed: {method}"));
    };
    match (group, name) {
        ("ACL", name) if ACL.contains(&name) => Absent::Off(NO_ACL),
        (
            "ConnectCA",
            "Roots" | "Sign" | "SignIntermediate" | "ConfigurationGet" | "ConfigurationSet",
        )
        | ("DiscoveryChain", "Get") => Absent::Off(NO_CONNECT),
        (group, _) if GROUPS.contains(&group) => {
            Absent::Unknown(format!("rpc: can't find method {method}"))
        }
        _ => Absent::Unknown(format!("rpc: can't find service {method}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unknown_in_three_ways() {
        for (method, want) in [
            ("Nope", "rpc: service/method request ill-formed: Nope"),
            ("", "rpc: service/method request ill-formed: "),
            ("Nope.X", "rpc: can't find service Nope.X"),
            ("a.b.c", "rpc: can't find service a.b.c"),
            (".", "rpc: can't find service ."),
            ("KVS.Nope", "rpc: can't find method KVS.Nope"),
            ("ACL.Nope", "rpc: can't find method ACL.Nope"),
        ] {
            assert_eq!(absent(method), Absent::Unknown(want.to_owned()));
        }
    }

    #[test]
    fn areas_that_are_off_say_so() {
        for method in ["ACL.TokenRead", "ACL.TokenSet", "ACL.Login"] {
            assert_eq!(absent(method), Absent::Off("ACL support disabled"));
        }
        assert!(matches!(absent("ConnectCA.Roots"), Absent::Off(_)));
    }
}
