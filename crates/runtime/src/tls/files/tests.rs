//! What the files of mutual TLS may hold, and what is said of the rest.

use std::fs;

use super::{fixtures::*, *};
use crate::tls::{
    configs::provider,
    testing::{Ca, Leaf as Wanted, Pair, mount},
};

fn write(folder: &Path, pair: &Pair, cas: &[&Ca]) -> Files {
    let [certificate, key, ca] = mount(folder, pair, cas);
    Files { certificate, key, ca }
}

/// The error for files of which one was changed.
fn refused(change: impl FnOnce(&Files)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let files = write(folder.path(), &ca.issue(&Wanted::default()), &[&ca]);
    files.load(&provider()).unwrap();
    change(&files);
    let error = files.load(&provider()).unwrap_err().to_string();
    let named = [&files.certificate, &files.key, &files.ca].map(|file| file.display().to_string());
    assert!(named.iter().any(|file| error.contains(file)), "names no file: {error}");
    error
}

fn put(file: &Path, content: impl AsRef<[u8]>) {
    fs::write(file, content).unwrap();
}

#[test]
fn every_wrong_file_is_named_with_its_setting() {
    let ca = Ca::new("other");
    let other = ca.issue(&Wanted::default());
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = &other.certificate[..other.certificate.len() / 2];
    type Change<'a> = &'a dyn Fn(&Files);
    let rows: [(Change<'_>, &str); 13] = [
        (&|f| fs::remove_file(&f.certificate).unwrap(), "tls.certificate_file: read "),
        (&|f| fs::remove_file(&f.key).unwrap(), "tls.key_file: read "),
        (&|f| fs::remove_file(&f.ca).unwrap(), "tls.ca_file: read "),
        (&|f| put(&f.certificate, ""), "holds no certificate in PEM"),
        (&|f| put(&f.certificate, &other.key), "holds no certificate in PEM"),
        (&|f| put(&f.certificate, garbage), "tls.certificate_file: "),
        (&|f| put(&f.certificate, cut), "tls.certificate_file: "),
        (&|f| put(&f.key, ""), "holds no private key in PEM"),
        (&|f| put(&f.key, &other.certificate), "holds no private key in PEM"),
        (&|f| put(&f.key, &other.key), "is not the key of the certificate in"),
        (&|f| put(&f.ca, [0xff; 99]), "tls.ca_file: "),
        (&|f| put(&f.ca, garbage), "holds a CA certificate (number 1) that can't be used"),
        (&|f| put(&f.ca, vec![b'\n'; 2 << 20]), "the limit is 1048576"),
    ];
    for (change, told) in rows {
        let error = refused(change);
        assert!(error.contains(told), "{told:?} is not in: {error}");
    }
}

#[test]
fn files_are_told_apart_by_what_they_hold() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ca = Ca::new("ca");
    let pair = ca.issue(&Wanted::default());
    fn load(folder: &tempfile::TempDir, pair: &Pair, cas: &[&Ca]) -> Material {
        write(folder.path(), pair, cas).load(&provider()).unwrap()
    }
    let before = load(&first, &pair, &[&ca]);
    assert!(before.equals(&load(&second, &pair, &[&ca])));
    assert!(!before.equals(&load(&second, &ca.issue(&Wanted::default()), &[&ca])));
    assert!(!before.equals(&load(&second, &pair, &[&ca, &Ca::new("new")])));
}

/// A key or certificate that can't work: which files hold what, and what is said.
#[test]
fn keys_and_certificates_of_unusable_kinds_are_refused_with_the_remedy() {
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let rows: [Row<'_>; 9] = [
        (&[("crt", P521), ("key", P521_KEY)], &["tls.certificate_file: ", "P-521", "make a P-256, P-384"]),
        (&[("crt", ED448)], &["tls.certificate_file: ", "Ed448", "make a P-256"]),
        (
            &[("crt", RSA_1024), ("key", RSA_1024_KEY)],
            &["fewer than 2,048 bits", "RSA key (2,048 bits or more)"],
        ),
        (
            &[("crt", BY_P521), ("key", P256_KEY)],
            &["signed with ECDSA with SHA-512", "have it issued by a CA"],
        ),
        (&[("ca", P521_CA)], &["tls.ca_file: ", "number 1", "P-521"]),
        (&[("crt", VERSION_1), ("key", P256_KEY)], &["version 1", "-extfile"]),
        (
            &[("crt", OWN_CA), ("key", P256_KEY), ("ca", OWN_CA)],
            &["CA:TRUE", "name it in tls.ca_file", "CA:FALSE"],
        ),
        (&[("key", ENCRYPTED_KEY)], &["tls.key_file: ", "encrypted", "openssl pkey -in "]),
        (&[("key", OLD_ENCRYPTED_KEY)], &["tls.key_file: ", "encrypted", "openssl pkey -in "]),
    ];
    for (files, told) in rows {
        let error = refused(|at| {
            for (which, content) in files {
                put(
                    if *which == "crt" {
                        &at.certificate
                    } else if *which == "key" {
                        &at.key
                    } else {
                        &at.ca
                    },
                    content,
                );
            }
        });
        assert!(told.iter().all(|part| error.contains(part)), "{told:?} are not in: {error}");
    }
}

#[test]
fn a_ca_that_vouches_for_nobody_does_not_keep_others_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let files = write(folder.path(), &ca.issue(&Wanted::default()), &[&ca]);
    put(&files.ca, format!("{P521_CA}{}", ca.certificate));
    assert_eq!(files.load(&provider()).unwrap().roots.len(), 1);
}

#[test]
fn marks_and_line_ends_of_editors_are_no_matter_and_binary_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let pair = ca.issue(&Wanted::default());
    let files = write(folder.path(), &pair, &[&ca]);
    let edited = |pem: &str| format!("\u{feff}{}", pem.replace('\n', "\r\n"));
    put(&files.certificate, edited(&pair.certificate));
    put(&files.key, edited(&pair.key));
    put(&files.ca, edited(&ca.certificate));
    files.load(&provider()).unwrap();

    let wide: Vec<u8> = pair.certificate.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_16 = refused(|at| put(&at.certificate, [&[0xff, 0xfe], wide.as_slice()].concat()));
    assert!(utf_16.contains("tls.certificate_file: ") && utf_16.contains("UTF-16"), "{utf_16}");
    for (binary, setting) in [
        (pair.certificate_der().to_vec(), "tls.certificate_file"),
        (pair.key_der().secret_der().to_vec(), "tls.key_file"),
    ] {
        let error =
            refused(|at| put(if setting == "tls.key_file" { &at.key } else { &at.certificate }, &binary));
        assert!(error.contains(setting) && error.contains("not PEM; convert it"), "{error}");
    }
}

/// cert-manager's self-signed issuer makes such ones: they are no CA's, and a node that is named them believes them.
#[test]
fn a_self_signed_certificate_that_is_no_cas_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &Pair::self_signed(), &[]);
    put(&files.ca, fs::read(&files.certificate).unwrap());
    files.load(&provider()).unwrap();
}
