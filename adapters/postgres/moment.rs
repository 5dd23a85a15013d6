//! Moments as PostgreSQL keeps them: `timestamptz`, microseconds since 2000.

use std::error::Error as StdError;

use sqlx::encode::IsNull;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, Postgres,
};
use sqlx::{Decode, Encode, Type};

use crate::{Timestamp, Window};

type Boxed = Box<dyn StdError + Send + Sync>;

/// 2000-01-01T00:00:00Z in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// The first moment that `timestamptz` has, 4714-11-24 BC, in microseconds since 1970.
const FIRST: i64 = -211_813_488_000_000_000 + EPOCH;

/// A [`Timestamp`] on its way to or from a `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    /// `at` as one end of a stretch of time: nothing can be from before the first moment.
    pub(super) fn bound(at: Timestamp) -> Self {
        Self(at.as_micros().max(FIRST))
    }

    /// The ends of `window`.
    pub(super) fn ends(window: Window) -> (Self, Self) {
        (Self::bound(window.start()), Self::bound(window.end()))
    }

    /// As SQL, for the one statement that takes no parameters.
    pub(super) fn literal(self) -> String {
        format!("(timestamptz 'epoch' + interval '{} microseconds')", self.0)
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at.as_micros())
    }
}

impl TryFrom<Moment> for Timestamp {
    type Error = crate::time::TimeError;

    fn try_from(moment: Moment) -> Result<Self, Self::Error> {
        Self::from_micros(moment.0)
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        info.oid() == Some(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, Boxed> {
        if self.0 < FIRST {
            return Err("the moment is before 4714 BC, the first that PostgreSQL has".into());
        }
        Encode::<Postgres>::encode(self.0 - EPOCH, buffer)
    }
}

impl Decode<'_, Postgres> for Moment {
    fn decode(value: PgValueRef<'_>) -> Result<Self, Boxed> {
        if value.format() != PgValueFormat::Binary {
            return Err("a moment as text".into());
        }
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        // The infinities stay what they are: beyond every time.
        Ok(Self(micros.saturating_add(EPOCH)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_what_postgres_has() {
        let first = Timestamp::from_micros(-377_705_023_200_000_000).unwrap();
        assert_eq!(Moment::bound(first), Moment(FIRST));
        assert_eq!(Moment::bound(Timestamp::EPOCH), Moment(0));
        let mut buffer = PgArgumentBuffer::default();
        assert!(Moment::from(first).encode_by_ref(&mut buffer).is_err());
        assert!(Moment(FIRST).encode_by_ref(&mut buffer).is_ok());
    }
}
