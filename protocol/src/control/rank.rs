//! Ranks: a number from 0 to 99, smaller is stronger. Roles are their names.

use crate::codec::{Canonical, CodecError, Reader, Writer};

/// How much a grant allows. Founders have 0; nobody has more than 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

impl Rank {
    /// Founders: irrevocable.
    pub const FOUNDER: Rank = Rank(0);
    /// The weakest administrator.
    pub const ADMIN: Rank = Rank(10);
    /// The weakest moderator.
    pub const MODERATOR: Rank = Rank(30);
    /// The weakest who may post.
    pub const MEMBER: Rank = Rank(89);
    /// The weakest who may read.
    pub const READER: Rank = Rank(98);
    /// Holds the room for others.
    pub const KEEPER: Rank = Rank(99);

    /// The rank of a number; `None` above 99.
    pub fn new(number: u8) -> Option<Rank> {
        (number <= Rank::KEEPER.0).then_some(Rank(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The rank's name.
    pub fn role(self) -> Role {
        match self {
            Rank::FOUNDER => Role::Founder,
            r if r <= Rank::ADMIN => Role::Admin,
            r if r <= Rank::MODERATOR => Role::Moderator,
            r if r <= Rank::MEMBER => Role::Member,
            r if r <= Rank::READER => Role::Reader,
            _ => Role::Keeper,
        }
    }
}

/// A band of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Rank 0.
    Founder,
    /// 1 to 10.
    Admin,
    /// 11 to 30.
    Moderator,
    /// 31 to 89.
    Member,
    /// 90 to 98.
    Reader,
    /// 99.
    Keeper,
}

impl Role {
    /// Every role, strongest first.
    pub const ALL: [Role; 6] = [Role::Founder, Role::Admin, Role::Moderator, Role::Member, Role::Reader, Role::Keeper];

    /// The role's name, as commands take it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Founder => "founder",
            Role::Admin => "admin",
            Role::Moderator => "moderator",
            Role::Member => "member",
            Role::Reader => "reader",
            Role::Keeper => "keeper",
        }
    }

    /// The role of a name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|r| r.name() == name)
    }

    /// The strongest and weakest rank of the role.
    pub fn ranks(self) -> (Rank, Rank) {
        match self {
            Role::Founder => (Rank::FOUNDER, Rank::FOUNDER),
            Role::Admin => (Rank(1), Rank::ADMIN),
            Role::Moderator => (Rank(11), Rank::MODERATOR),
            Role::Member => (Rank(31), Rank::MEMBER),
            Role::Reader => (Rank(90), Rank::READER),
            Role::Keeper => (Rank::KEEPER, Rank::KEEPER),
        }
    }

    /// The rank to grant for this role by somebody of rank `issuer`: the middle of the band, which leaves room to both
    /// sides, or the first that is weaker than the issuer. `None` when the role is not weaker than the issuer.
    pub fn rank_below(self, issuer: Rank) -> Option<Rank> {
        let (strongest, weakest) = self.ranks();
        let middle = Rank((strongest.0 + weakest.0) / 2);
        let rank = if middle > issuer { middle } else { Rank(issuer.0 + 1) };
        (rank > issuer && rank <= weakest).then_some(rank)
    }
}

impl Canonical for Rank {
    fn write(&self, w: &mut Writer) {
        w.u8(self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Rank::new(r.u8()?).ok_or(CodecError::Invalid("rank"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_granted_below_its_issuer_or_not_at_all() {
        for issuer in 0..=99 {
            let issuer = Rank(issuer);
            for role in Role::ALL {
                match role.rank_below(issuer) {
                    Some(rank) => assert!(rank > issuer && rank.role() == role),
                    None => assert!(role.ranks().1 <= issuer),
                }
            }
        }
    }
}
