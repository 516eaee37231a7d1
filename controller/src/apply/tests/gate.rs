//! All writes go through the gate.

/// A write that does not come from the gate is one that nobody looked at.
#[test]
fn objects_are_written_through_the_gate_alone() {
    // Of resources of our own group, the status and the finalizer; the Lease; what administrators ask for by a command.
    let others = [
        "apply/gate.rs",
        "reconcile/write.rs",
        "reviews.rs",
        "blueprint/finalizer.rs",
        "leader/mod.rs",
        "pki/command.rs",
        "publication/token.rs",
        "drill.rs",
    ];
    let source = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut found = Vec::new();
    visit(source, &mut |path, text| {
        let name = path.strip_prefix(source).expect("inside").display().to_string();
        let calls =
            [".patch(", ".patch_metadata(", ".create(", ".replace(&", ".delete(&", ".delete_collection("];
        let writes = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test = name.contains("tests");
        if !is_test && !others.contains(&name.as_str()) && calls.iter().any(|call| writes.contains(call)) {
            found.push(name);
        }
    });
    assert_eq!(found, Vec::<String>::new());
}

fn visit(folder: &std::path::Path, look: &mut dyn FnMut(&std::path::Path, &str)) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &std::fs::read_to_string(&path).expect("a file"));
        }
    }
}
