//! Who may ask the vault what: the owner anything, another key what it was granted, everybody else nothing.

use selfchain_types::vault::{DenialReason, Grant, Rights, VaultQuery};
use selfchain_types::{KeyId, TimeNs};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key that was proved in the handshake, if any was.
    pub key: Option<KeyId>,
    /// Whether that is an owner's.
    pub is_owner: bool,
    /// From where, for the log of denials.
    pub address: String,
}

impl Caller {
    /// The owner, on the machine itself.
    pub fn owner(key: KeyId) -> Self {
        Self {
            key: Some(key),
            is_owner: true,
            address: String::new(),
        }
    }
}

/// What a question takes.
enum Needs<'a> {
    Read(&'a str),
    Write(&'a str),
    Owner,
}

/// Of which document, or of which beginning of names, a question is; empty for none.
pub(super) fn name_of<'a>(query: &VaultQuery<'a>) -> &'a str {
    match query {
        VaultQuery::Look { name, .. }
        | VaultQuery::Get { name, .. }
        | VaultQuery::List { prefix: name, .. }
        | VaultQuery::History { name, .. }
        | VaultQuery::Put { name, .. }
        | VaultQuery::Remove { name, .. } => name,
        VaultQuery::Access(_) | VaultQuery::Owner(_) => "",
    }
}

fn needs<'a>(query: &VaultQuery<'a>) -> Needs<'a> {
    match query {
        VaultQuery::Look { .. }
        | VaultQuery::Get { .. }
        | VaultQuery::List { .. }
        | VaultQuery::History { .. } => Needs::Read(name_of(query)),
        VaultQuery::Put { .. } => Needs::Write(name_of(query)),
        VaultQuery::Remove { purge_through: 0, .. } => Needs::Write(name_of(query)),
        VaultQuery::Remove { .. } | VaultQuery::Access(_) | VaultQuery::Owner(_) => Needs::Owner,
    }
}

/// Whether `caller` may ask that at `now`.
///
/// # Errors
/// Why not.
pub(super) fn permit(
    caller: &Caller,
    query: &VaultQuery<'_>,
    grants: &[Grant],
    now: TimeNs,
) -> Result<(), DenialReason> {
    if caller.is_owner {
        return Ok(());
    }
    let key = caller.key.ok_or(DenialReason::NoKey)?;
    let (name, has): (&str, fn(Rights) -> bool) = match needs(query) {
        Needs::Owner => return Err(DenialReason::OwnerOnly),
        Needs::Read(name) => (name, |rights| rights.read),
        Needs::Write(name) => (name, |rights| rights.write),
    };
    let mut why = DenialReason::NoGrant;
    for grant in grants {
        if grant.key == key && has(grant.rights) && name.starts_with(&grant.prefix) {
            if grant.is_in_force(now) {
                return Ok(());
            }
            why = DenialReason::Expired;
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::Hash;
    use selfchain_types::vault::{Access, OwnerQuery};

    const FRIEND: KeyId = KeyId(Hash([1; 32]));

    fn grant(prefix: &str, read: bool, write: bool, until: u64) -> Grant {
        Grant {
            key: FRIEND,
            prefix: prefix.into(),
            rights: Rights { read, write },
            until_ns: TimeNs(until),
            time_ns: TimeNs(0),
        }
    }

    fn queries(name: &str) -> [VaultQuery<'_>; 6] {
        let (number, rows_max) = (0, 1);
        [
            VaultQuery::Look { name, number },
            VaultQuery::Get {
                name,
                number,
                offset: 0,
                len_max: 1,
            },
            VaultQuery::List {
                prefix: name,
                after: "",
                with_removed: false,
                rows_max,
            },
            VaultQuery::History {
                name,
                from: 1,
                rows_max,
            },
            VaultQuery::Put {
                name,
                upload: 1,
                after: None,
                offset: 0,
                is_last: true,
                bytes: b"",
            },
            VaultQuery::Remove {
                name,
                purge_through: 0,
            },
        ]
    }

    #[test]
    fn nobody_may_anything_that_was_not_granted() {
        let friend = |key| Caller {
            key,
            is_owner: false,
            address: String::new(),
        };
        let grants = [
            grant("notes/", true, false, 0),
            grant("inbox/", false, true, 0),
            grant("past/", true, true, 9),
        ];
        let check = |key, name: &str, now| {
            queries(name).map(|query| permit(&friend(key), &query, &grants, TimeNs(now)).err())
        };
        let (no_key, no_grant) = (Some(DenialReason::NoKey), Some(DenialReason::NoGrant));
        assert_eq!(check(None, "notes/a", 5), [no_key; 6]);
        let stranger = Some(KeyId(Hash([2; 32])));
        assert_eq!(check(stranger, "notes/a", 5), [no_grant; 6]);
        let read_only = [None, None, None, None, no_grant, no_grant];
        assert_eq!(check(Some(FRIEND), "notes/a", 5), read_only);
        let write_only = [no_grant, no_grant, no_grant, no_grant, None, None];
        assert_eq!(check(Some(FRIEND), "inbox/a", 5), write_only);
        for name in ["notes", "note", "other/notes/a", "Notes/a"] {
            assert_eq!(check(Some(FRIEND), name, 5), [no_grant; 6], "{name}");
        }
        assert_eq!(check(Some(FRIEND), "past/a", 8), [None; 6]);
        assert_eq!(check(Some(FRIEND), "past/a", 9), [Some(DenialReason::Expired); 6]);
    }

    #[test]
    fn what_is_the_owners_is_granted_to_nobody() {
        let all = [grant("", true, true, 0)];
        let friend = Caller {
            key: Some(FRIEND),
            is_owner: false,
            address: String::new(),
        };
        let purge = VaultQuery::Remove {
            name: "a",
            purge_through: 1,
        };
        let grants = VaultQuery::Access(Access::Grants);
        let standing = VaultQuery::Owner(OwnerQuery::Standing);
        for query in [purge, grants, standing] {
            let permitted = permit(&friend, &query, &all, TimeNs(1));
            assert_eq!(permitted, Err(DenialReason::OwnerOnly), "{query:?}");
            assert_eq!(permit(&Caller::owner(FRIEND), &query, &[], TimeNs(1)), Ok(()));
        }
    }
}
