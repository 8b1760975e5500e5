//! The pages of the program itself.

use std::fs;
use std::ops::Range;

/// Has the pages of the program's code that only the start needed taken out of this process's memory; those that are needed again
/// come back from the page cache as they are. A start touches code all over the program, and the system maps sixteen pages around
/// each that is touched: of 24 MiB that a registry with nothing to do would occupy, eleven are these.
///
/// Where the system does not tell where the code is, nothing happens.
pub(crate) fn give_back_what_started() {
    let here = give_back_what_started as fn() as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    if let Some(code) = maps.lines().filter_map(code).find(|code| code.contains(&here)) {
        give_back(&code);
    }
}

/// The addresses in a line of `/proc/self/maps` that says of them: code of a file, which this process cannot have changed.
fn code(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (addresses, rights, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
    let (from, to) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    (rights == "r-xp" && path.starts_with('/')).then_some(address(from)?..address(to)?)
}

#[allow(unsafe_code)]
fn give_back(code: &Range<usize>) {
    // SAFETY: the range is a mapping of a file that cannot be written to by way of it, so what is in memory is what is in the file,
    // and the next access, by whichever thread, finds that again (madvise(2), `MADV_DONTNEED`). A refusal changes nothing.
    unsafe {
        libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_a_file_is_given_back() {
        let line = |rights: &str, path: &str| format!("55d0c0a00000-55d0c0b00000 {rights} 00012000 fd:01 1234 {path}");
        assert_eq!(code(&line("r-xp", "/usr/bin/wharf")), Some(0x55d0_c0a0_0000..0x55d0_c0b0_0000));
        for (rights, path) in [("r--p", "/usr/bin/wharf"), ("rwxp", "/usr/bin/wharf"), ("rw-p", "/a"), ("r-xs", "/a")] {
            assert_eq!(code(&line(rights, path)), None, "{rights}");
        }
        assert_eq!(code(&line("r-xp", "[vdso]")), None);
        assert_eq!(code(&line("r-xp", "")), None, "nothing that it could be read from again");
        assert_eq!(code("55d0c0a00000 r-xp"), None);
    }

    #[test]
    fn what_was_given_back_is_there_when_it_is_needed() {
        let mapped = || {
            let smaps = fs::read_to_string("/proc/self/smaps").expect("this process's memory");
            let here = give_back_what_started as fn() as usize;
            let mut lines = smaps.lines().skip_while(|line| !code(line).is_some_and(|code| code.contains(&here)));
            let rss = lines.find_map(|line| line.strip_prefix("Rss:")).expect("how much is there");
            rss.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
        };
        let before = mapped();
        give_back_what_started();
        let after = mapped();
        assert!(after < before, "{after} of {before} KiB are left");
    }
}
