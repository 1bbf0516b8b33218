//! Compiles every kernel with NVRTC of the pinned wheel; needs no GPU.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use cuda_kernels::{Architecture, Element, Form, Nvrtc, Origin, compiled, find_nvrtc, source};

/// Opens NVRTC; `None` if there is none, and the test is then skipped.
#[track_caller]
fn nvrtc() -> Option<Nvrtc> {
    let path = test_support::require(find_nvrtc(None).map_err(|_| "no NVRTC (`cargo xtask test` fetches it)"))?;
    Some(Nvrtc::open(&path).unwrap())
}

fn has(image: &[u8], text: &str) -> bool {
    image.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn every_kernel_compiles_for_three_architectures() {
    let Some(nvrtc) = nvrtc() else { return };
    let folder = tempfile::tempdir().unwrap();
    for major in [8, 9, 10] {
        let architecture = Architecture { major, minor: 0 };
        let (image, origin, path) = compiled(&nvrtc, architecture, folder.path()).unwrap();
        assert_eq!((image.form, origin), (Form::Cubin, Origin::Compiled));
        assert!(image.bytes.starts_with(b"\x7fELF"));
        for name in source::KERNELS {
            for element in Element::ALL {
                let section = format!(".text.{name}_{}\0", element.name());
                assert!(has(&image.bytes, &section), "{architecture} lacks {section}");
            }
        }
        let (again, origin, _) = compiled(&nvrtc, architecture, folder.path()).unwrap();
        assert_eq!((again.bytes == image.bytes, origin), (true, Origin::Cache));
        // A damaged file is compiled again. Checked for one architecture only, because compiling takes seconds.
        if major == 9 {
            std::fs::write(&path, "damaged").unwrap();
            let (again, origin, _) = compiled(&nvrtc, architecture, folder.path()).unwrap();
            assert_eq!((again.bytes == image.bytes, origin), (true, Origin::Compiled));
        }
    }
}

#[test]
fn intermediate_code_reads_16_bytes_at_a_time() {
    let Some(nvrtc) = nvrtc() else { return };
    // For an architecture that this NVRTC does not know, it makes PTX for the newest known one.
    let image = nvrtc.compile(source::TEXT, Architecture { major: 99, minor: 0 }).unwrap();
    assert_eq!(image.form, Form::Ptx);
    let text = String::from_utf8(image.bytes).unwrap();
    for element in Element::ALL {
        for name in source::KERNELS {
            let entry = format!(".entry {name}_{}(", element.name());
            let body = text.split(&entry).nth(1).unwrap_or_else(|| panic!("no {entry}"));
            let body = &body[..body.find(".entry ").unwrap_or(body.len())];
            // These kernels read single elements: a thread per column, a row of logits per block, or widths and addresses that
            // are not multiples of 16 bytes.
            let narrow =
                ["rms_norm_gain", "sum_strips", "merge_parts", "sample", "paged_attention_narrow"].contains(&name);
            assert!(narrow || body.contains("ld.global.v4") || body.contains("ld.global.nc.v4"), "{entry}");
            // All arrays are in registers: NVRTC would put others into local memory, which is slow.
            assert!(!body.contains("ld.local"), "{entry}");
        }
    }
    assert!(text.contains("cvt.rn.bf16.f32"));
}

#[test]
fn a_wrong_program_is_refused_with_the_compilers_words() {
    let Some(nvrtc) = nvrtc() else { return };
    let error = nvrtc.compile("__global__ void f() { g(); }", Architecture { major: 9, minor: 0 }).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("sm_90") && text.contains("herd.cu(1): error: identifier \"g\" is undefined"), "{text}");
}
