//! Where variables lie in shared, local and parameter memory.

/// A memory being filled from its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// Bytes so far.
    pub end: u64,
}

impl Layout {
    /// Places so many bytes at an alignment, and gives where they begin.
    pub fn place(&mut self, bytes: u64, alignment: u64) -> u64 {
        let begin = self.end.next_multiple_of(alignment.max(1));
        self.end = begin + bytes;
        begin
    }

    /// Places memory whose size is known at launch: aligned as is asked, and to no more, since nothing more is promised. Where
    /// nothing lies before it, it begins where shared memory does, which drivers align to 1024: Triton's kernels count on that.
    pub fn place_dynamic(&mut self, alignment: u64) -> u64 {
        if self.end == 0 {
            return 0;
        }
        let alignment = alignment.max(1);
        let begin = self.end.next_multiple_of(alignment);
        let begin = if begin.is_multiple_of(2 * alignment) {
            begin + alignment
        } else {
            begin
        };
        self.end = begin;
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_launch_has_no_alignment_that_nobody_asked_for() {
        let mut layout = Layout::default();
        assert_eq!(layout.place(20, 4), 0);
        assert_eq!(layout.place(8, 8), 24);
        assert_eq!(layout.place_dynamic(16), 48);
        assert_eq!(Layout::default().place_dynamic(16), 0);
        assert_eq!(Layout { end: 1024 }.place_dynamic(128), 1152);
    }
}
