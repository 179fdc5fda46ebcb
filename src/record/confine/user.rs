//! The user as whom a confined recorder runs (`--user`).

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::thread;

/// A user and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As it was given.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one among them or not.
    pub groups: Vec<u32>,
}

impl User {
    /// By a name, by a number that has a name, or by `UID:GID`.
    ///
    /// # Errors
    ///
    /// Nobody is called so; in words.
    pub fn find(text: &str) -> Result<Self, String> {
        let name = text.to_owned();
        if let Some((uid, gid)) = text.split_once(':') {
            let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else {
                return Err(format!("`{text}` is not UID:GID"));
            };
            return Ok(Self { name, uid, gid, groups: vec![gid] });
        }
        let found = match text.parse() {
            Ok(uid) => uzers::get_user_by_uid(uid),
            Err(_) => uzers::get_user_by_name(text),
        };
        let user = found.ok_or_else(|| {
            format!("there is no user `{text}` here; a number needs its group, as in 65534:65534")
        })?;
        let (uid, gid) = (user.uid(), user.primary_group_id());
        let groups = uzers::get_user_groups(user.name(), gid).unwrap_or_default();
        let groups = groups.iter().map(uzers::Group::gid).collect();
        Ok(Self { name, uid, gid, groups })
    }

    /// Makes the calling thread this user's; permitted capabilities stay,
    /// effective ones end (capabilities(7), "Effect of user ID changes").
    ///
    /// # Errors
    ///
    /// CAP_SETUID or CAP_SETGID is missing.
    pub(super) fn become_it(&self) -> io::Result<()> {
        let gid = Gid::from_raw(self.gid);
        let uid = Uid::from_raw(self.uid);
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        thread::set_keep_capabilities(true)?;
        thread::set_thread_groups(&groups)?;
        thread::set_thread_res_gid(gid, gid, gid)?;
        thread::set_thread_res_uid(uid, uid, uid)?;
        thread::set_keep_capabilities(false)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_number_or_pair() {
        let root = User::find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(User::find("0").unwrap().gid, 0);
        let pair = User::find("1234:567").unwrap();
        assert_eq!((pair.uid, pair.gid, pair.groups), (1234, 567, vec![567]));
        assert!(User::find("nobody-is-called-so").unwrap_err().contains("there is no user"));
        assert!(User::find("x:1").unwrap_err().contains("UID:GID"));
    }
}
