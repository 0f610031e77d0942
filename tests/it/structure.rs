//! The shape of the code, counted: long functions, long signatures, circles between files, names that stand for two types. The lists are a
//! snapshot, so that a change shows what it adds; `make structure` prints it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use syn::visit::Visit;

use crate::support;

/// A function with more lines than this is listed.
const LINES: usize = 80;
/// Parameters besides `self`.
const PARAMETERS: usize = 5;
/// Type parameters, those of the `impl` it stands in and each `impl Trait` included.
const GENERICS: usize = 3;

/// A source file of the product, its module path within its crate, and its syntax.
struct Source {
    krate: String,
    module: Vec<String>,
    path: String,
    file: syn::File,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        list.path.is_ident("cfg") && list.tokens.to_string().contains("test")
    })
}

fn sources() -> Vec<Source> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            // Tests, and what is for them.
            if ["tests", "testing", "scale"].contains(&stem) {
                continue;
            }
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = support::root();
    let mut crates = vec![("shared".to_owned(), root.join("shared/src"))];
    for (group, leave_out) in [("shared", "testkit"), ("functions", "")] {
        for entry in fs::read_dir(root.join(group)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name != leave_out && entry.path().join("Cargo.toml").is_file() {
                crates.push((format!("{group}/{name}"), entry.path().join("src")));
            }
        }
    }
    crates.sort();
    let mut sources = Vec::new();
    for (krate, folder) in crates {
        let mut files = Vec::new();
        collect(&folder, &mut files);
        files.sort();
        for path in files {
            let inside = path.strip_prefix(&folder).unwrap().with_extension("");
            let mut module: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if module
                .last()
                .is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str()))
            {
                module.pop();
            }
            sources.push(Source {
                krate: krate.clone(),
                module,
                path: path.strip_prefix(&root).unwrap().display().to_string(),
                file: syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap(),
            });
        }
    }
    // Files that are a module of tests only, whatever their name.
    let of_tests: BTreeSet<(String, Vec<String>)> = sources
        .iter()
        .flat_map(|source| {
            let modules = source.file.items.iter().filter_map(|item| match item {
                syn::Item::Mod(module) if is_test(&module.attrs) => Some(module.ident.to_string()),
                _ => None,
            });
            modules.map(|name| {
                let mut module = source.module.clone();
                module.push(name);
                (source.krate.clone(), module)
            })
        })
        .collect();
    sources.retain(|source| !of_tests.contains(&(source.krate.clone(), source.module.clone())));
    assert!(sources.len() > 100, "{} sources", sources.len());
    sources
}

/// The result for the files.
#[derive(Default)]
struct Found {
    path: String,
    generics_of_impl: usize,
    functions: usize,
    long: Vec<String>,
    many_parameters: Vec<String>,
    many_generics: Vec<String>,
    types: BTreeMap<String, Vec<String>>,
}

fn type_parameters(generics: &syn::Generics) -> usize {
    generics.type_params().count()
}

impl Found {
    fn function(&mut self, signature: &syn::Signature, lines: std::ops::RangeInclusive<usize>) {
        self.functions += 1;
        let name = format!("{}: {}", self.path, signature.ident);
        let lines = lines.end() - lines.start() + 1;
        if lines > LINES {
            self.long.push(name.clone());
        }
        let parameters = signature
            .inputs
            .iter()
            .filter(|input| matches!(input, syn::FnArg::Typed(_)));
        let parameters = parameters.count();
        if parameters > PARAMETERS {
            self.many_parameters.push(name.clone());
        }
        let of_arguments = signature.inputs.iter().filter(|input| {
            let syn::FnArg::Typed(typed) = input else { return false };
            let inner = match &*typed.ty {
                syn::Type::Reference(reference) => &*reference.elem,
                other => other,
            };
            matches!(inner, syn::Type::ImplTrait(_))
        });
        let generics = type_parameters(&signature.generics) + self.generics_of_impl + of_arguments.count();
        if generics > GENERICS {
            self.many_generics.push(name);
        }
    }

    fn named(&mut self, name: &syn::Ident) {
        self.types.entry(name.to_string()).or_default().push(self.path.clone());
    }
}

fn lines(item: &impl syn::spanned::Spanned) -> std::ops::RangeInclusive<usize> {
    let span = item.span();
    span.start().line..=span.end().line
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_test(&function.attrs) {
            self.function(&function.sig, lines(function));
            syn::visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if !is_test(&block.attrs) {
            self.generics_of_impl = type_parameters(&block.generics);
            syn::visit::visit_item_impl(self, block);
            self.generics_of_impl = 0;
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            self.function(&function.sig, lines(function));
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if !is_test(&item.attrs) && !matches!(item.vis, syn::Visibility::Inherited) {
            self.named(&item.ident);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if !is_test(&item.attrs) && !matches!(item.vis, syn::Visibility::Inherited) {
            self.named(&item.ident);
        }
    }
}

/// The paths that a file names with `crate::` and `super::`, with the module of the file as their beginning.
struct Paths<'a> {
    module: &'a [String],
    /// Modules that the file declares: a path may begin with one of them.
    children: BTreeSet<String>,
    found: BTreeSet<Vec<String>>,
}

impl Paths<'_> {
    fn tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| {
            let mut path = prefix.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(prefix),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(prefix, tree)),
        }
    }

    fn add(&mut self, path: &[String]) {
        let mut module = self.module.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => {
                module.clear();
                rest = &path[1..];
            }
            Some("self") => rest = &path[1..],
            Some("super") => {
                while let Some(("super", more)) = rest.split_first().map(|(first, more)| (first.as_str(), more)) {
                    module.pop();
                    rest = more;
                }
            }
            Some(name) if self.children.contains(name) => {}
            _ => return,
        }
        module.extend(rest.iter().cloned());
        self.found.insert(module);
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // A re-export makes no file need another.
        if !is_test(&item.attrs) && matches!(item.vis, syn::Visibility::Inherited) {
            self.tree(&[], &item.tree);
        }
    }

    /// `pub(crate)` says who may see something, and needs nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.add(&segments.collect::<Vec<_>>());
        syn::visit::visit_path(self, path);
    }
}

/// Groups of files of a crate that need each other, the larger first: Tarjan's strongly connected components, by reachability, which is
/// fast enough for a hundred files.
fn circles(sources: &[&Source]) -> Vec<Vec<String>> {
    let place = |path: &[String]| {
        let mut files = sources.iter().enumerate();
        // The file whose module is the longest beginning of the path.
        let mut best: Option<(usize, usize)> = None;
        files.by_ref().for_each(|(place, source)| {
            let fits = path.starts_with(&source.module);
            if fits && best.is_none_or(|(length, _)| source.module.len() >= length) {
                best = Some((source.module.len(), place));
            }
        });
        best.map(|(_, place)| place)
    };
    let mut needs: Vec<BTreeSet<usize>> = Vec::new();
    for source in sources {
        let children = source.file.items.iter().filter_map(|item| match item {
            syn::Item::Mod(module) if module.content.is_none() && !is_test(&module.attrs) => {
                Some(module.ident.to_string())
            }
            _ => None,
        });
        let mut paths = Paths {
            module: &source.module,
            children: children.collect(),
            found: BTreeSet::new(),
        };
        paths.visit_file(&source.file);
        needs.push(paths.found.iter().filter_map(|path| place(path)).collect());
    }
    let reached: Vec<BTreeSet<usize>> = (0..sources.len())
        .map(|from| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
            while let Some(at) = left.pop() {
                left.extend(needs[at].iter().copied().filter(|next| seen.insert(*next)));
            }
            seen
        })
        .collect();
    let mut groups: BTreeSet<Vec<usize>> = BTreeSet::new();
    for from in 0..sources.len() {
        let group: Vec<usize> = (0..sources.len())
            .filter(|to| *to == from || (reached[from].contains(to) && reached[*to].contains(&from)))
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    let name = |place: usize| sources[place].path.clone();
    let mut named: Vec<Vec<String>> = groups
        .into_iter()
        .map(|group| group.into_iter().map(name).collect())
        .collect();
    named.sort_by_key(|group| std::cmp::Reverse(group.len()));
    named
}

#[test]
fn the_shape_of_the_code() {
    let sources = sources();
    let mut found = Found::default();
    for source in &sources {
        found.path.clone_from(&source.path);
        found.visit_file(&source.file);
    }
    let mut text = String::new();
    let mut list = |title: &str, entries: &[String]| {
        writeln!(text, "{title}: {}", entries.len()).unwrap();
        entries.iter().for_each(|entry| writeln!(text, "  {entry}").unwrap());
    };
    list(&format!("functions with more than {LINES} lines"), &found.long);
    list(
        &format!("functions with more than {PARAMETERS} parameters"),
        &found.many_parameters,
    );
    list(
        &format!("functions with more than {GENERICS} type parameters"),
        &found.many_generics,
    );
    let doubled: Vec<String> = found
        .types
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    list("names of several public types", &doubled);
    let crates: BTreeSet<&str> = sources.iter().map(|source| source.krate.as_str()).collect();
    let circles: Vec<String> = crates
        .into_iter()
        .flat_map(|name| {
            let files: Vec<&Source> = sources.iter().filter(|source| source.krate == name).collect();
            circles(&files)
        })
        .map(|group| format!("{} files: {}", group.len(), group.join(", ")))
        .collect();
    list("circles between files", &circles);
    // Each crate is read from the bottom to the top.
    assert_eq!(circles, [""; 0], "circles between files");
    insta::assert_snapshot!(text);
}

#[test]
fn circles_and_long_signatures_are_found() {
    let source = |module: &[&str], text: &str| Source {
        krate: "x".to_owned(),
        module: module.iter().map(|&part| part.to_owned()).collect(),
        path: module.join("/"),
        file: syn::parse_file(text).unwrap(),
    };
    let files = [
        source(&[], "pub mod a; pub mod b;"),
        source(&["a"], "use crate::{b::{B, c::C}, d}; pub struct A;"),
        source(&["b"], "use super::a; pub struct B;"),
        source(&["b", "c"], "pub struct C; fn f() -> crate::d::D { todo!() }"),
        source(
            &["d"],
            "pub struct D; pub(in crate::a) struct E; #[cfg(test)] mod tests { use crate::a; }",
        ),
        source(&["e"], "mod f; use f::F; pub struct E;"),
        source(&["e", "f"], "use super::E; pub struct F;"),
    ];
    assert_eq!(circles(&files.iter().collect::<Vec<_>>()), [["a", "b"], ["e", "e/f"]]);
    let mut found = Found {
        path: "x".to_owned(),
        ..Found::default()
    };
    let text = "impl<A, B> X<A, B> { fn f<C>(&self, a: A, b: &impl B, c: u8, d: u8, e: u8) {} fn g(&self, six: u8) {} }
        #[cfg(test)] fn h<A, B, C, D>() {}";
    found.visit_file(&syn::parse_file(text).unwrap());
    assert_eq!(found.many_generics, ["x: f"]);
    assert_eq!((found.many_parameters.len(), found.functions), (0, 2));
}
