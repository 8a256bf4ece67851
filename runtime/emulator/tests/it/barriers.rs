//! `bar`, `barrier` and `mbarrier` in every form, against what the ISA says threads see (PTX ISA 9.7.13.1, 9.7.13.15). What
//! `.relaxed` and scopes leave out is the race checker's: `asynchronous.rs` and `instructions.rs`.

use super::modifiers::row::{Form, forms};
use tessera_emulator::{Global, Launch, Program, Report, launch, ptx::Module};

/// What threads compute of all threads' predicates.
pub const REDUCTIONS: &[&str] = &[
    "bar[.cta|].red[.popc.u32|.and.pred|.or.pred]",
    "barrier[.cta|].red.popc[.aligned|].u32",
    "barrier[.cta|].red[.and|.or][.aligned|].pred",
];

/// Waits, and arrivals that do not wait.
pub const WAITS: &[&str] = &[
    "bar[.cta|][.sync|.arrive]",
    "barrier[.cta|][.sync|.arrive][.aligned|]",
];

/// Arrivals at objects.
pub const ARRIVALS: &[&str] = &[
    "mbarrier[.arrive|.arrive_drop][.expect_tx|][.release.cta|.release.cluster|.relaxed.cta|.relaxed.cluster|]\
     [.shared|.shared::cta|.shared::cluster|].b64",
    "mbarrier[.arrive|.arrive_drop].noComplete[.release.cta|][.shared|.shared::cta|].b64",
];

/// Questions whether a phase has ended.
pub const TESTS: &[&str] = &[
    "mbarrier[.test_wait|.try_wait][.parity|][.acquire.cta|.acquire.cluster|.relaxed.cta|.relaxed.cluster|]\
     [.shared|.shared::cta|].b64",
];

/// What else is done with objects.
pub const OTHERS: &[&str] = &[
    "mbarrier[.init|.inval][.shared|.shared::cta|].b64",
    "mbarrier[.expect_tx|.complete_tx][.relaxed.cta|.relaxed.cluster|][.shared|.shared::cta|.shared::cluster|].b64",
    "mbarrier.pending_count.b64",
];

/// Threads that execute something and have a word each, `%d`, which is 0 before. `object` is an mbarrier, `%at` its address.
fn run(body: &str, threads: u32, is_generic: bool) -> (Report, Vec<u32>) {
    let to_generic = if is_generic {
        "cvta.shared.u64 %at, %at;\n"
    } else {
        ""
    };
    let text = format!(
        ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b64 %out, %at, %s, %u;\n.reg .b32 %t, %w, %d, %x;\n.reg .pred %p, %q, %first;\n.shared .align 8 .b64 object;\n\
         .shared .b32 word;\n\
         ld.param.u64 %out, [p];\nmov.u32 %t, %tid.x;\nmad.wide.u32 %out, %t, 4, %out;\nshr.u32 %w, %t, 5;\n\
         setp.eq.u32 %first, %w, 0;\nmov.u64 %at, object;\n{to_generic}mov.b32 %d, 0;\n{body}\nst.global.b32 [%out], %d;\n\
         ret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let output = memory.allocate(4 * threads as usize);
    let grid = Launch::new("main").block([threads, 1, 1]).u64(output);
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory
        .read_bytes(output, 4 * threads as usize)
        .unwrap_or_default();
    let words = bytes
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    (report, words.collect())
}

/// The words where nothing is found.
fn words(body: &str, threads: u32, is_generic: bool) -> Vec<u32> {
    let (report, words) = run(body, threads, is_generic);
    assert_eq!(report.findings, [], "{body}");
    words
}

fn all(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

#[test]
fn reductions_of_predicates() {
    for form in all(REDUCTIONS) {
        // Threads whose number and-ed with a mask is another: some, all, none.
        for (mask, value) in [(5, 1), (0, 0), (0, 1)] {
            for (count, negated) in [("", false), (", 64", false), (", 64", true)] {
                let threads = if count.is_empty() { 96 } else { 64 };
                let holds = |thread: &u32| (thread & mask == value) != negated;
                let number = (0..threads).filter(holds).count() as u32;
                let expected = match form.one_of(&["popc", "and", "or"]) {
                    Some("popc") => number,
                    Some("and") => u32::from(number == threads),
                    _ => u32::from(number > 0),
                };
                let (destination, after) = if form.has("popc") {
                    ("%d", "")
                } else {
                    ("%q", "selp.b32 %d, 1, 0, %q;\n")
                };
                let sign = if negated { "!" } else { "" };
                let body = format!(
                    "and.b32 %x, %t, {mask};\nsetp.eq.u32 %p, %x, {value};\nsetp.ge.u32 %q, %t, {threads};\n@%q bra END;\n\
                     {} {destination}, 1{count}, {sign}%p;\n{after}END:",
                    form.text()
                );
                let found = words(&body, 96, false);
                let wanted = |thread| if thread < threads { expected } else { 0 };
                assert_eq!(found, (0..96).map(wanted).collect::<Vec<u32>>(), "{body}");
            }
        }
    }
}

#[test]
fn who_arrives_goes_on_and_who_waits_does_not() {
    for form in all(WAITS) {
        let text = form.text();
        let (arrive, sync) = if form.has("arrive") {
            (text.clone(), text.replace("arrive", "sync"))
        } else {
            (text.replace("sync", "arrive"), text.clone())
        };
        // The second warp comes to both barriers before the first comes to either of them, in another order.
        let body = format!(
            "@%first bra FIRST;\nst.shared.b32 [word], 7;\n{arrive} 1, 64;\n{arrive} 2, 64;\nbra END;\n\
             FIRST:\n{sync} 2, 64;\n{sync} 1, 64;\nld.shared.b32 %d, [word];\nEND:"
        )
        .replace("st.shared", "setp.eq.u32 %p, %t, 32;\n@%p st.shared");
        let found = words(&body, 64, false);
        assert_eq!(found, [[7; 32], [0; 32]].concat(), "{body}");
        // A wait of both would never end.
        let (report, _) = run(&body.replace(&arrive, &sync), 64, false);
        assert!(!report.findings.is_empty(), "{body}");
    }
}

#[test]
fn lanes_that_come_apart_to_a_barrier_of_whole_warps() {
    let apart = |barrier: &str| {
        let body = format!(
            "setp.lt.u32 %p, %t, 16;\n@%p bra LOW;\n{barrier} 1;\nbra END;\nLOW:\n{barrier} 1;\nEND:\nmov.b32 %d, 1;"
        );
        run(&body, 32, false).0.findings.len()
    };
    for form in all(&["bar[.cta|].sync", "barrier[.cta|].sync[.aligned|]"]) {
        let is_aligned = form.words[0] == "bar" || form.has("aligned");
        assert_eq!(apart(&form.text()) > 0, is_aligned, "{}", form.text());
    }
}

/// Whether an object's first phase has ended, and at last its second, asked for behind each step.
const ENDED: &str = "mbarrier.test_wait.parity.shared.b64 %p, [object], 0;\nshl.b32 %d, %d, 1;\n@%p or.b32 %d, %d, 1;\n";
const ENDED_TWICE: &str = "mbarrier.test_wait.parity.shared.b64 %p, [object], 1;\nshl.b32 %d, %d, 1;\n@%p or.b32 %d, %d, 1;\n";

fn is_generic(form: &Form) -> bool {
    form.one_of(&["shared", "shared::cta", "shared::cluster"])
        .is_none()
}

#[test]
fn arrivals_at_objects() {
    for form in all(ARRIVALS) {
        let destination = if form.has("shared::cluster") {
            "_"
        } else {
            "%s"
        };
        let operand = match form.one_of(&["expect_tx", "noComplete"]) {
            Some("expect_tx") => ", 16",
            Some(_) => ", 1",
            None => "",
        };
        let arrives = "mbarrier.arrive.shared.b64 _, [object];\n";
        let body = format!(
            "mbarrier.init.shared.b64 [object], 2;\n{} {destination}, [%at]{operand};\n{ENDED}{arrives}{ENDED}\
             mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [object], 16;\n{ENDED}{arrives}{ENDED_TWICE}",
            form.text()
        );
        // Bytes of a phase that waits for none are owed to the next, which then has more than it expects.
        let body = if form.has("expect_tx") {
            body
        } else {
            body.replace(
                "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [object], 16;\n",
                "",
            )
        };
        let found = words(&body, 1, is_generic(&form))[0];
        // Two arrivals end a phase, if no bytes are missing; of who dropped out one ends the next.
        let [first, second, third] = [false, !form.has("expect_tx"), true];
        let fourth = form.has("arrive_drop");
        let expected = [first, second, third, fourth];
        let expected = expected
            .iter()
            .fold(0, |bits, &ended| bits << 1 | u32::from(ended));
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn questions_whether_a_phase_has_ended() {
    for form in all(TESTS) {
        let asks = |phase: &str| {
            format!(
                "{} %p, [%at], {phase};\nshl.b32 %d, %d, 1;\n@%p or.b32 %d, %d, 1;\n",
                form.text()
            )
        };
        let arrives = |state: &str| format!("mbarrier.arrive.shared.b64 {state}, [object];\n");
        let (first, second) = if form.has("parity") {
            ("0", "1")
        } else {
            ("%s", "%u")
        };
        // Of two arrivals, asked behind each; then of the next phase's.
        let body = [
            "mbarrier.init.shared.b64 [object], 2;\n".to_owned(),
            arrives("%s"),
            asks(first),
            arrives("_"),
            asks(first),
            arrives("%u"),
            asks(second),
            asks(first),
        ];
        assert_eq!(
            words(&body.concat(), 1, is_generic(&form)),
            [0b0101],
            "{}",
            form.text()
        );
    }
}

#[test]
fn what_else_is_done_with_objects() {
    for form in all(OTHERS) {
        let text = form.text();
        let init = "mbarrier.init.shared.b64 [object], 1;\n";
        let arrives = "mbarrier.arrive.shared.b64 %s, [object];\n";
        let (body, expected) = match &form.words[1][..] {
            "init" => (
                format!("{text} [%at], 2;\n{arrives}{ENDED}{arrives}{ENDED}"),
                0b01,
            ),
            // Of memory that is none any more, another may be made.
            "inval" => (format!("{init}{text} [%at];\n{init}{arrives}{ENDED}"), 1),
            "expect_tx" => {
                let comes = "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [object], 48;\n";
                (
                    format!("{init}{text} [%at], 48;\n{arrives}{ENDED}{comes}{ENDED}"),
                    0b01,
                )
            }
            "complete_tx" => {
                let expects = "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [object], 48;\n";
                (
                    format!(
                        "{init}{expects}{arrives}{text} [%at], 32;\n{ENDED}{text} [%at], 16;\n{ENDED}"
                    ),
                    0b01,
                )
            }
            _ => (
                format!(
                    "mbarrier.init.shared.b64 [object], 5;\n{arrives}{arrives}{text} %d, %s;\n"
                ),
                4,
            ),
        };
        assert_eq!(words(&body, 1, is_generic(&form)), [expected], "{body}");
    }
}
