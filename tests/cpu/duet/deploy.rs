//! Deployments, whole and broken.

use std::time::Duration;

use lowbit::internals::Error;
use lowbit::internals::edge::duet::{Deadlines, Deployment, deploy};

use super::server::{Fault, Printer, State, When};
use super::*;

const CONFIG: &[u8] = b"M550 P\"mine\"\n";
const OLD_MACRO: &[u8] = b"; of another version\nM118 S\"old\"\n";

fn files(before: Option<&'static [u8]>, old: Option<&'static [u8]>) -> Vec<(&'static str, &'static [u8])> {
    let mut files = vec![("sys/config.g", CONFIG)];
    files.extend(before.map(|before| (HOOKED, before)));
    files.extend(old.map(|old| (MACRO_NAME, old)));
    files
}

fn deployed(printer: &Printer, write: bool) -> Result<Deployment, Error> {
    deploy(&open(printer, "reprap", quick())?, write)
}

fn writes(state: &State) -> Vec<String> {
    let reads = ["connect", "download", "disconnect"];
    state.requests.iter().filter(|what| !reads.contains(&what.split(' ').next().unwrap())).cloned().collect()
}

fn kept(name: &str, bytes: &[u8]) -> String {
    format!("{name}.lowbit-{:08x}.bak", crc32fast::hash(bytes))
}

#[test]
fn a_first_deployment_writes_and_a_second_changes_nothing() {
    for (before, after) in [
        (None, format!("{HOOK}\n").into_bytes()),
        (Some(&b""[..]), format!("{HOOK}\n").into_bytes()),
        (Some(LAYERS), hooked(LAYERS)),
        (Some(b"\xef\xbb\xbfG1\nG2\n"), [b"\xef\xbb\xbf", HOOK.as_bytes(), b"\nG1\nG2\n"].concat()),
    ] {
        let printer = Printer::new(&files(before, None));
        let old = printer.state().files.clone();
        // Dry: nothing but reads, and the same steps.
        let dry = deployed(&printer, false).unwrap();
        assert!(dry.changed && !dry.write);
        assert!(writes(&printer.state()).is_empty() && printer.state().files == old);
        let wet = deployed(&printer, true).unwrap();
        assert!(wet.changed && wet.write);
        let step = |deployment: &Deployment| -> Vec<_> {
            deployment
                .steps
                .iter()
                .map(|step| (step.action, step.file.clone(), step.bytes, step.crc32.clone()))
                .collect()
        };
        assert_eq!(step(&dry), step(&wet));
        assert_eq!(printer.file(MACRO_NAME).unwrap(), MACRO.as_bytes());
        assert_eq!(printer.file(HOOKED).unwrap(), after);
        assert_eq!(printer.file("sys/config.g").unwrap(), CONFIG);
        // A backup of what there was, and nothing temporary.
        let mut names = vec![HOOKED.to_owned(), MACRO_NAME.into(), "sys/config.g".into()];
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            assert_eq!(printer.file(&kept(HOOKED, before)).unwrap(), before);
            names.push(kept(HOOKED, before));
        }
        names.sort();
        assert_eq!(printer.state().files.keys().cloned().collect::<Vec<_>>(), names);
        printer.state().requests.clear();
        let again = deployed(&printer, true).unwrap();
        assert!(!again.changed && writes(&printer.state()).is_empty(), "{again:?}");
        assert!(printer.state().violations.is_empty() && printer.state().sessions.is_empty());
    }
}

#[test]
fn another_macro_is_backed_up_and_a_hook_is_left_alone() {
    let mine: &[u8] = b"G4 P1\nm98 p\"M573.G\" ; mine\n";
    let printer = Printer::new(&files(Some(mine), Some(OLD_MACRO)));
    let made = deployed(&printer, true).unwrap();
    assert_eq!(printer.file(HOOKED).unwrap(), mine);
    assert_eq!(printer.file(MACRO_NAME).unwrap(), MACRO.as_bytes());
    assert_eq!(printer.file(&kept(MACRO_NAME, OLD_MACRO)).unwrap(), OLD_MACRO);
    assert!(made.notices.is_empty());
    // The same old bytes once more: their backup is there.
    printer.state().files.insert(MACRO_NAME.into(), OLD_MACRO.to_vec());
    let made = deployed(&printer, true).unwrap();
    assert!(
        made.steps.iter().any(|step| step.action == "back up" && step.result == "already there"),
        "{made:?}"
    );
    assert_eq!(printer.file(MACRO_NAME).unwrap(), MACRO.as_bytes());
}

#[test]
fn a_call_of_another_file_is_named_and_is_no_hook() {
    let astray: &[u8] = b"M98 P\"sys/M573.g\"\n";
    let printer = Printer::new(&files(Some(astray), None));
    let found = |made: &Deployment| {
        let step = made.steps.iter().find(|step| step.action == "read" && step.file == HOOKED);
        step.unwrap().result.clone()
    };
    let made = deployed(&printer, true).unwrap();
    assert_eq!(found(&made), "read; line 1 calls another file, /sys/sys/M573.g: M573 is enough");
    assert_eq!(printer.file(HOOKED).unwrap(), [HOOK.as_bytes(), b"\n", astray].concat());
    let again = deployed(&printer, true).unwrap();
    assert!(!again.changed);
    assert_eq!(found(&again), "calls it already; line 2 calls another file, /sys/sys/M573.g: M573 is enough");
    let printer = Printer::new(&files(Some(b"if global.x == 1\n  M573\n"), None));
    let made = deployed(&printer, true).unwrap();
    assert_eq!(found(&made), "calls it already, in line 2: in a block, so only on its condition");
    assert!(made.notices.is_empty() && writes(&printer.state()).iter().all(|what| !what.contains("Layer")));
    // Files of the name in other folders are no calls.
    let printer = Printer::new(&files(Some(b"M98 P\"1:/sys/M573.g\"\n"), None));
    assert!(deployed(&printer, true).unwrap().hook.is_some());
}

#[test]
fn a_file_that_is_created_has_to_be_called_by_the_slicer() {
    for (before, notices) in [(None, 1), (Some(LAYERS), 0)] {
        let printer = Printer::new(&files(before, None));
        for write in [false, true] {
            let made = deployed(&printer, write).unwrap();
            assert_eq!(made.notices.len(), notices, "{made:?}");
            assert!(made.notices.iter().all(|notice| notice.contains("M98 P\"beforeLayerChange.g\"")));
        }
    }
}

#[test]
fn an_interrupted_rename_is_finished() {
    let temporary = format!("{HOOKED}.lowbit-new");
    let (new, copy) = (hooked(LAYERS), kept(HOOKED, LAYERS));
    // With the hook, or as a file that was being restored: their backup proves them.
    for staged in [&new[..], LAYERS] {
        let printer = Printer::new(&[(&temporary, staged), (&copy, LAYERS), (MACRO_NAME, MACRO.as_bytes())]);
        let dry = deployed(&printer, false).unwrap();
        assert!(dry.changed && dry.hook.is_some() && writes(&printer.state()).is_empty());
        assert!(dry.steps.iter().any(|step| step.action == "finish" && step.file == temporary), "{dry:?}");
        let wet = deployed(&printer, true).unwrap();
        assert_eq!(wet.steps.len(), dry.steps.len());
        assert_eq!(printer.file(HOOKED).unwrap(), new);
        assert_eq!(printer.file(&copy).unwrap(), LAYERS);
        assert_eq!(printer.file(&temporary), None);
        assert!(!deployed(&printer, true).unwrap().changed);
    }
    // A first deployment, of which nothing can be lost.
    let first = format!("{HOOK}\n");
    let printer = Printer::new(&[(&temporary, first.as_bytes())]);
    deployed(&printer, true).unwrap();
    assert_eq!((printer.file(HOOKED), printer.file(&temporary)), (Some(first.into_bytes()), None));
    // A printer that says falsely that there is no file loses none.
    let printer = Printer::new(&[(&temporary, &new), (&copy, LAYERS), (HOOKED, b"G1\n")]);
    printer.fail(When::Named("download sys/beforeLayerChange.g"), Fault::Status(404));
    let text = deployed(&printer, true).unwrap_err().to_string();
    assert!(text.contains("could not be renamed"), "{text}");
    assert_eq!(printer.file(HOOKED).unwrap(), b"G1\n");
}

#[test]
fn what_is_left_of_a_missing_file_is_never_written_over() {
    let temporary = format!("{HOOKED}.lowbit-new");
    let (new, copy) = (hooked(LAYERS), kept(HOOKED, LAYERS));
    for (staged, backup) in [
        (&new[..], None),
        (&new[..], Some(&b"other"[..])),
        (&new[..new.len() - 1], Some(LAYERS)),
        (b"", Some(LAYERS)),
        (b"; what is this", Some(LAYERS)),
    ] {
        let printer = Printer::new(&[(&temporary, staged)]);
        if let Some(backup) = backup {
            printer.state().files.insert(copy.clone(), backup.to_vec());
        }
        let before = printer.state().files.clone();
        for write in [false, true] {
            let text = deployed(&printer, write).unwrap_err().to_string();
            for word in [&temporary, "sys/beforeLayerChange.g.lowbit-*.bak", "nothing was written"] {
                assert!(text.contains(word), "{word}: {text}");
            }
            assert!(text.lines().count() <= 2, "{text}");
        }
        assert!(printer.state().files == before && writes(&printer.state()).is_empty());
    }
}

#[test]
fn a_backup_of_other_bytes_is_never_overwritten() {
    let printer = Printer::new(&files(Some(LAYERS), None));
    let name = kept(HOOKED, LAYERS);
    printer.state().files.insert(name.clone(), b"precious".to_vec());
    for write in [false, true] {
        let text = deployed(&printer, write).unwrap_err().to_string();
        assert!(
            text.contains(&name) && text.contains("not overwritten") && text.contains("nothing was written"),
            "{text}"
        );
    }
    assert_eq!(printer.file(&name).unwrap(), b"precious");
    assert!(writes(&printer.state()).is_empty());
}

#[test]
fn only_a_404_is_no_file() {
    for fault in [
        Fault::Err1,
        Fault::Status(204),
        Fault::Status(400),
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(410),
        Fault::Status(500),
        Fault::Status(503),
        Fault::Redirect,
        Fault::DropBefore,
        Fault::DropHeaders,
        Fault::DropBody,
        Fault::NoHttp,
        Fault::Endless,
        Fault::Unbounded,
    ] {
        for name in ["download sys/M573.g", "download sys/beforeLayerChange.g"] {
            let printer = Printer::new(&files(Some(LAYERS), Some(OLD_MACRO)));
            printer.fail(When::Named(name), fault);
            let error = deployed(&printer, true).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("nothing was written"), "{fault:?}: {error}");
            assert!(writes(&printer.state()).is_empty(), "{fault:?}: {:?}", printer.state().requests);
        }
    }
}

#[test]
fn a_false_404_costs_nothing() {
    let printer = Printer::new(&files(Some(LAYERS), None));
    printer.fail(When::Named("download sys/beforeLayerChange.g"), Fault::Status(404));
    let text = deployed(&printer, true).unwrap_err().to_string();
    assert!(
        text.contains("was not written") && text.contains("sys/M573.g was written before that"),
        "{text}"
    );
    assert_eq!(printer.file(HOOKED).unwrap(), LAYERS);
}

#[test]
fn a_file_that_changes_meanwhile_is_not_replaced() {
    let printer = Printer::new(&files(Some(LAYERS), None));
    let session = open(&printer, "reprap", quick()).unwrap();
    let plan = deploy(&session, false).unwrap();
    assert!(plan.changed);
    // Half of the file is read first, and the whole of it afterwards: as if it had grown.
    printer.fail(When::Nth(1), Fault::Truncate);
    let text = deploy(&session, true).unwrap_err().to_string();
    assert!(text.contains("it changed meanwhile"), "{text}");
    assert_eq!(printer.file(HOOKED).unwrap(), LAYERS);
}

/// One deployment with one fault, and then a clean one.
fn survive(when: When, fault: Fault, truncating: bool, old: Option<&'static [u8]>, transfer: Duration) {
    let printer = Printer::new(&files(Some(LAYERS), old));
    {
        let mut state = printer.state();
        state.password = SECRET.into();
        state.truncating = truncating;
    }
    let try_it = |write: bool, deadlines: Deadlines| {
        open(&printer, SECRET, deadlines).and_then(|session| deploy(&session, write))
    };
    let case = format!("{when:?} {fault:?} truncating {truncating} old macro {}", old.is_some());
    let deadlines = Deadlines { transfer, ..quick() };
    let before = printer.state().files.clone();
    // Without leave to write, nothing changes, whatever happens. It takes five requests.
    if !matches!(when, When::Nth(5..) | When::From(5..)) {
        printer.fail(when, fault);
        let _ = try_it(false, deadlines);
        assert!(printer.state().files == before, "{case}: a dry run wrote");
    }

    printer.fail(when, fault);
    let ended = try_it(true, deadlines);
    if matches!(fault, Fault::LateBefore) {
        std::thread::sleep(server::LATE + Duration::from_millis(100));
    }
    let (layers, made) = (printer.file(HOOKED), printer.file(MACRO_NAME));
    let is_old = layers.as_deref() == Some(LAYERS);
    // A printer that died between the halves of its rename has the new bytes under the other name.
    let staged = printer.file(&format!("{HOOKED}.lowbit-new"));
    let unlinks = matches!(fault, Fault::Dies | Fault::HalfMoved);
    let unlinked =
        unlinks && layers.is_none() && [hooked(LAYERS), LAYERS.to_vec()].map(Some).contains(&staged);
    let macro_unlinked = unlinks
        && made.is_none()
        && printer.file(&format!("{MACRO_NAME}.lowbit-new")).as_deref() == Some(MACRO.as_bytes());
    assert!(is_old || unlinked || layers == Some(hooked(LAYERS)), "{case}: {layers:?}\n{ended:?}");
    assert!(
        macro_unlinked || made.as_deref() == old || made.as_deref() == Some(MACRO.as_bytes()),
        "{case}: {made:?}\n{ended:?}"
    );
    assert_eq!(printer.file("sys/config.g").as_deref(), Some(CONFIG), "{case}");
    match &ended {
        Ok(_) => assert!(!is_old && made.as_deref() == Some(MACRO.as_bytes()), "{case}: {ended:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error, Error::Peer { .. }) && text.lines().count() <= 2, "{case}: {text}");
            assert!(!has_secret(&text) && !has_secret(&format!("{error:?}")), "{case}: {text}");
            // What it says is so.
            assert!(is_old || !text.contains(&format!("{HOOKED} was not written")), "{case}: {text}");
            assert!(
                !text.contains("nothing was written") || writes(&printer.state()).is_empty(),
                "{case}: {text}"
            );
            let stays = text.contains("sys/M573.g was written before that");
            assert!(!stays || made.as_deref() == Some(MACRO.as_bytes()), "{case}: {text}");
        }
    }
    assert!(printer.state().violations.is_empty(), "{case}: {:?}", printer.state().violations);

    printer.heal();
    try_it(true, quick()).unwrap_or_else(|error| panic!("{case}: then {error}"));
    assert_eq!(printer.file(HOOKED).unwrap(), hooked(LAYERS), "{case}");
    assert_eq!(printer.file(MACRO_NAME).unwrap(), MACRO.as_bytes(), "{case}");
    let state = printer.state();
    assert!(
        state.files.keys().all(|name| !name.ends_with(".lowbit-new")),
        "{case}: {:?}",
        state.files.keys()
    );
    assert_eq!(state.files.get(&kept(HOOKED, LAYERS)).map(Vec::as_slice), Some(LAYERS), "{case}");
}

/// How many requests a deployment takes.
fn requests(old: Option<&'static [u8]>) -> usize {
    let printer = Printer::new(&files(Some(LAYERS), old));
    deployed(&printer, true).unwrap();
    let count = printer.state().requests.len();
    assert!(count >= 18, "{count}");
    count
}

const FAST: [Fault; 21] = [
    Fault::Dies,
    Fault::HalfMoved,
    Fault::Err1,
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(404),
    Fault::Status(500),
    Fault::Status(503),
    Fault::Done503,
    Fault::DropBefore,
    Fault::DropAfter,
    Fault::DropHeaders,
    Fault::DropBody,
    Fault::Garbage,
    Fault::Empty,
    Fault::NoHttp,
    Fault::Redirect,
    Fault::Endless,
    Fault::WrongBytes,
    Fault::Truncate,
    Fault::Unbounded,
];

#[test]
fn every_fault_at_every_request_leaves_the_file_whole() {
    let transfer = quick().transfer;
    let sweep = |part: usize| {
        for n in (0..requests(None)).filter(|n| n % 4 == part) {
            for fault in FAST {
                survive(When::Nth(n), fault, false, None, transfer);
                // Megabytes for each request.
                if fault != Fault::Endless {
                    survive(When::From(n), fault, false, None, transfer);
                }
            }
            for fault in [Fault::DropBefore, Fault::DropBody, Fault::Truncate] {
                survive(When::Nth(n), fault, true, None, transfer);
                survive(When::From(n), fault, true, None, transfer);
            }
        }
        for n in (0..requests(Some(OLD_MACRO))).filter(|n| n % 4 == part) {
            FAST.iter().for_each(|&fault| survive(When::Nth(n), fault, false, Some(OLD_MACRO), transfer));
        }
    };
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || sweep(part));
        }
    });
}

#[test]
fn a_late_answer_at_any_request_leaves_the_file_whole() {
    let count = requests(None);
    std::thread::scope(|scope| {
        for (i, fault) in
            [Fault::Late, Fault::LateBefore, Fault::Trickle, Fault::Late].into_iter().enumerate()
        {
            scope.spawn(move || {
                for n in (0..count).filter(|n| (i == 0) == n.is_multiple_of(2) || i == 1) {
                    survive(When::Nth(n), fault, false, None, Duration::from_millis(120));
                }
            });
        }
    });
}

#[test]
fn a_fault_of_one_request_for_ever_leaves_the_file_whole() {
    for name in [
        "upload sys/M573.g.lowbit-new",
        "download sys/M573.g.lowbit-new",
        "move sys/M573.g.lowbit-new sys/M573.g",
        "upload sys/beforeLayerChange.g.lowbit-new",
        "download sys/beforeLayerChange.g.lowbit-new",
        "move sys/beforeLayerChange.g.lowbit-new sys/beforeLayerChange.g",
        "delete sys/beforeLayerChange.g.lowbit-new",
    ] {
        for fault in FAST {
            survive(When::Named(name), fault, false, None, quick().transfer);
        }
    }
}

#[test]
fn the_macro_fits_the_firmware() {
    assert!(MACRO.is_ascii() && MACRO.ends_with('\n') && !MACRO.contains(['\r', '\t']));
    // Older boards read 200 characters of a line.
    assert!(MACRO.lines().all(|line| line.len() <= 120));
    assert!(!MACRO.contains("string("), "this is no function of the firmware");
    for part in [
        "M400",
        "exists(param.P)",
        "exists(param.Q)",
        "exists(global.hdpa_tau)",
        "exists(global.hdpa_gamma)",
        "param.P < 0.001 || param.P > 0.5",
        "param.Q < 0 || param.Q > 1",
        "set global.hdpa_tau = param.P",
        "global hdpa_gamma = param.Q",
        "M118 S{\"M573: tau \" ^ global.hdpa_tau ^ \" s, gamma \" ^ global.hdpa_gamma}",
    ] {
        assert!(MACRO.contains(part), "{part}");
    }
    // Indentation makes the blocks: by two, and by no more than two at a time.
    let indents: Vec<usize> = MACRO
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .collect();
    assert!(indents.iter().all(|n| n.is_multiple_of(2)) && indents.windows(2).all(|w| w[1] <= w[0] + 2));
}
