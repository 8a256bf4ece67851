//! A barrier object in shared memory: arrivals and bytes that a phase waits for (PTX ISA 9.7.13.15.1 to 9.7.13.15.5).

/// The state of an object between two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mbarrier {
    /// Arrivals that end the phases to come.
    expected: u32,
    /// Arrivals that this phase still waits for.
    pending: u32,
    /// Bytes that this phase still waits for; negative where they came before anybody expected them.
    transactions: i64,
    /// Phases that have ended.
    phase: u64,
}

/// Arrivals of a phase, at most.
const COUNT: u32 = (1 << 20) - 1;
/// Bytes that are waited for, at most, and that may come too early.
const TRANSACTIONS: i64 = (1 << 20) - 1;
/// Bits of a token under the phase.
const PENDING_BITS: u32 = 20;

/// What an object cannot do: a clause whose subject is the mbarrier.
pub(crate) type Misuse = String;

impl Mbarrier {
    /// An object whose phases each end with so many arrivals.
    pub fn new(count: u32) -> Result<Self, Misuse> {
        if count == 0 || count > COUNT {
            return Err(format!(
                "is to count {count} arrivals, of which there are 1 to {COUNT}"
            ));
        }
        Ok(Self {
            expected: count,
            pending: count,
            transactions: 0,
            phase: 0,
        })
    }

    /// The number of phases that have ended.
    pub fn phase(&self) -> u64 {
        self.phase
    }

    /// The arrivals and the bytes that this phase still waits for.
    pub fn lacks(&self) -> (u32, i64) {
        (self.pending, self.transactions)
    }

    /// What an arrival gives: the phase and the arrivals that it still waits for. Its bits are this machine's own.
    pub fn token(&self) -> u64 {
        self.phase << PENDING_BITS | u64::from(self.pending)
    }

    /// The arrivals that a token says were missing.
    pub fn pending_of(token: u64) -> u64 {
        token & ((1 << PENDING_BITS) - 1)
    }

    /// Whether the phase of a token has ended.
    pub fn has_passed(&self, token: u64) -> bool {
        // Of a token only so many bits of the phase are left.
        token >> PENDING_BITS != self.phase & (u64::MAX >> PENDING_BITS)
    }

    /// Whether the last phase of a parity has ended: the first phase has parity 0, the one before it is held to have ended.
    pub fn has_passed_parity(&self, parity: u64) -> bool {
        self.phase & 1 != parity & 1
    }

    /// More bytes must come in this phase.
    pub fn expect(&mut self, bytes: u32) -> Result<(), Misuse> {
        self.transactions += i64::from(bytes);
        self.check_transactions()
    }

    /// Bytes have come. Whether the phase ended.
    pub fn complete(&mut self, bytes: u32) -> Result<bool, Misuse> {
        self.transactions -= i64::from(bytes);
        self.check_transactions()?;
        Ok(self.advance())
    }

    /// Arrivals come. Whether the phase ended.
    pub fn arrive(&mut self, count: u32) -> Result<bool, Misuse> {
        if count == 0 || count > self.pending {
            return Err(format!(
                "is arrived at {count} times in a phase that waits for {} more arrivals",
                self.pending
            ));
        }
        self.pending -= count;
        Ok(self.advance())
    }

    /// One more arrival is waited for, in this phase alone.
    pub fn increment(&mut self, count: u32) -> Result<(), Misuse> {
        self.pending += count;
        if self.pending > COUNT {
            return Err(format!("waits for more than {COUNT} arrivals"));
        }
        Ok(())
    }

    /// Phases to come wait for fewer arrivals.
    pub fn drop_expected(&mut self, count: u32) -> Result<(), Misuse> {
        self.expected = self
            .expected
            .checked_sub(count)
            .ok_or_else(|| format!("is to wait for {count} arrivals fewer than none"))?;
        Ok(())
    }

    fn check_transactions(&self) -> Result<(), Misuse> {
        if self.transactions.abs() > TRANSACTIONS {
            return Err(format!(
                "waits for {} bytes, of which it counts up to {TRANSACTIONS}",
                self.transactions
            ));
        }
        Ok(())
    }

    fn advance(&mut self) -> bool {
        let ends = self.pending == 0 && self.transactions == 0;
        if ends {
            self.phase += 1;
            self.pending = self.expected;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_with_its_last_arrival() {
        let mut barrier = Mbarrier::new(3).unwrap();
        let token = barrier.token();
        assert_eq!(Mbarrier::pending_of(token), 3);
        assert!(!barrier.arrive(2).unwrap());
        assert!(!barrier.has_passed(token));
        assert!(barrier.arrive(1).unwrap());
        assert!(barrier.has_passed(token));
        assert_eq!(Mbarrier::pending_of(barrier.token()), 3);
    }

    #[test]
    fn the_phase_before_the_first_has_ended() {
        let mut barrier = Mbarrier::new(1).unwrap();
        assert!(barrier.has_passed_parity(1));
        assert!(!barrier.has_passed_parity(0));
        barrier.arrive(1).unwrap();
        assert!(barrier.has_passed_parity(0));
        assert!(!barrier.has_passed_parity(1));
    }

    #[test]
    fn a_phase_waits_for_bytes_as_well() {
        let mut barrier = Mbarrier::new(1).unwrap();
        barrier.expect(256).unwrap();
        assert!(!barrier.arrive(1).unwrap());
        assert!(!barrier.complete(128).unwrap());
        assert!(barrier.complete(128).unwrap());
    }

    #[test]
    fn bytes_may_come_before_they_are_expected() {
        let mut barrier = Mbarrier::new(1).unwrap();
        assert!(!barrier.complete(64).unwrap());
        barrier.expect(64).unwrap();
        assert!(barrier.arrive(1).unwrap());
    }

    #[test]
    fn phases_to_come_do_not_wait_for_who_dropped_out() {
        let mut barrier = Mbarrier::new(2).unwrap();
        barrier.drop_expected(1).unwrap();
        assert!(!barrier.arrive(1).unwrap());
        assert!(barrier.arrive(1).unwrap());
        assert!(barrier.arrive(1).unwrap());
    }

    #[test]
    fn counts_have_bounds() {
        assert!(Mbarrier::new(0).is_err());
        assert!(Mbarrier::new(1 << 20).is_err());
        assert!(Mbarrier::new(1).unwrap().arrive(2).is_err());
        assert!(Mbarrier::new(1).unwrap().expect(1 << 20).is_err());
        assert!(Mbarrier::new(1).unwrap().complete(1 << 20).is_err());
    }
}
