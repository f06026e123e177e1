//! What a block has room for, and what is left of it.

/// How much a block may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// Bytes of envelopes.
    pub bytes_max: u64,
    /// Operations.
    pub effects_max: u64,
    /// Envelopes.
    pub envelopes_max: usize,
}

/// What a choice has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) bytes: u64,
    pub(super) effects: u64,
    pub(super) envelopes: usize,
}

impl Used {
    /// Counts one in, if it fits.
    pub(super) fn add(&mut self, limits: &BlockLimits, (bytes, effects): (u64, u64)) -> bool {
        let fits = self.bytes + bytes <= limits.bytes_max
            && self.effects + effects <= limits.effects_max
            && self.envelopes < limits.envelopes_max;
        if fits {
            self.bytes += bytes;
            self.effects += effects;
            self.envelopes += 1;
        }
        fits
    }

    /// Whether some limit is reached exactly or passed.
    pub(super) fn is_full(&self, limits: &BlockLimits) -> bool {
        self.bytes >= limits.bytes_max
            || self.effects >= limits.effects_max
            || self.envelopes >= limits.envelopes_max
    }

    /// What was used since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            bytes: self.bytes - earlier.bytes,
            effects: self.effects - earlier.effects,
            envelopes: self.envelopes - earlier.envelopes,
        }
    }
}

impl BlockLimits {
    /// Neither more than this nor more than there is.
    pub(super) fn at_most(&self, bytes: u64, effects: u64, envelopes: usize) -> Self {
        Self {
            bytes_max: self.bytes_max.min(bytes),
            effects_max: self.effects_max.min(effects),
            envelopes_max: self.envelopes_max.min(envelopes),
        }
    }

    /// So many per cent of it, rounded up.
    pub(super) fn percent(&self, percent: u8) -> Self {
        let share = |all: u64| all.saturating_mul(u64::from(percent)).div_ceil(100);
        Self {
            bytes_max: share(self.bytes_max),
            effects_max: share(self.effects_max),
            envelopes_max: self
                .envelopes_max
                .saturating_mul(usize::from(percent))
                .div_ceil(100),
        }
    }
}
