//! What the crate shows to others, as a list that is checked in: a change of it shows in review.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::visit::Visit;
use syn::{Fields, ImplItem, Item, Type, Visibility};

use crate::tree::{Place, Target, Tree, hidden, leaves, named, read, root};

const LIST: &str = "tests/cpu/api.txt";

/// What is shown: by the name that others write, the definition.
#[derive(Default)]
struct Face {
    shown: BTreeMap<String, Target>,
    modules: BTreeSet<Place>,
}

impl Face {
    /// Takes in what a module shows, under the name `face`.
    fn add(&mut self, tree: &Tree, place: &Place, face: &str) {
        if !self.modules.insert(place.clone()) {
            return;
        }
        for item in &tree.0[place] {
            match item {
                Item::Mod(module) if public(&module.vis) && !hidden(&module.attrs) => {
                    let name = module.ident.to_string();
                    let inner: Place = place.iter().cloned().chain([name.clone()]).collect();
                    if tree.0.contains_key(&inner) {
                        self.add(tree, &inner, &format!("{face}::{name}"));
                    }
                }
                Item::Use(import) if public(&import.vis) && !hidden(&import.attrs) => {
                    let mut found = Vec::new();
                    leaves(&import.tree, &[], &mut found);
                    for (path, name) in found {
                        match tree.resolve(place, &path) {
                            Some(Target::Module(inner)) if name == "*" => self.add(tree, &inner, face),
                            Some(Target::Module(inner)) => self.add(tree, &inner, &format!("{face}::{name}")),
                            Some(item) => drop(self.shown.insert(format!("{face}::{name}"), item)),
                            None => panic!("{face}: where does {} lead?", path.join("::")),
                        }
                    }
                }
                item => {
                    if let Some((name, vis, attributes)) = named(item)
                        && public(vis)
                        && !hidden(attributes)
                    {
                        let target = Target::Item(place.clone(), name.clone());
                        self.shown.insert(format!("{face}::{name}"), target);
                    }
                }
            }
        }
    }
}

fn public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

/// Tokens as rustfmt would set them, nearly.
fn text(of: &impl ToTokens) -> String {
    let mut text = of.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (" . ", "."),
        (" , ", ", "),
        (" ,", ","),
        ("& ", "&"),
        (" ;", ";"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        ("[ ", "["),
        (" ]", "]"),
        (" :", ":"),
        ("->(", "-> ("),
        ("' ", "'"),
        (" = ", " = "),
        ("# [", "#["),
        (" ?", "?"),
        ("dyn(", "dyn ("),
        (",)", ")"),
        ("- >", "->"),
        ("=(", "= ("),
        (":(", ": ("),
        (",(", ", ("),
        ("mut(", "mut ("),
        (" ->", " -> "),
        ("  ", " "),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// What is said of one item.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// The paths that its types are written as, and where.
    types: Vec<(Place, Vec<String>)>,
}

struct Paths<'a>(&'a Place, &'a mut Vec<(Place, Vec<String>)>);

impl Visit<'_> for Paths<'_> {
    fn visit_type_path(&mut self, path: &syn::TypePath) {
        if path.qself.is_none() {
            let path = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.1.push((self.0.clone(), path));
        }
        syn::visit::visit_type_path(self, path);
    }
}

impl Said {
    fn add(&mut self, place: &Place, line: String, of: &dyn Fn(&mut Paths<'_>)) {
        self.lines.push(line);
        of(&mut Paths(place, &mut self.types));
    }

    fn fields(&mut self, place: &Place, face: &str, fields: &Fields, all: bool) {
        let mut closed = false;
        for (at, field) in fields.iter().enumerate() {
            if !(all || public(&field.vis)) || hidden(&field.attrs) {
                closed = true;
                continue;
            }
            let name = field.ident.as_ref().map_or(at.to_string(), ToString::to_string);
            let line = format!("{face}.{name}: {}", text(&field.ty));
            self.add(place, line, &|paths| paths.visit_type(&field.ty));
        }
        if closed {
            self.lines.push(format!("{face}: has other fields"));
        }
    }
}

/// What is said of an item, and of all that is implemented for it.
fn said(tree: &Tree, face: &str, place: &Place, name: &str) -> Said {
    let mut said = Said::default();
    let item = tree.0[place].iter().find(|item| named(item).is_some_and(|(own, ..)| own == name)).unwrap();
    let open = |attributes: &[syn::Attribute]| {
        let attributes = attributes.iter().map(text).filter(|text| {
            text.contains("derive") || text.contains("non_exhaustive") || text.contains("must_use")
        });
        attributes.map(|text| format!(" {text}")).collect::<String>()
    };
    match item {
        Item::Const(of) => {
            said.add(place, format!("const {face}: {}", text(&of.ty)), &|paths| paths.visit_type(&of.ty));
        }
        Item::Static(of) => said.lines.push(format!("static {face}: {}", text(&of.ty))),
        Item::Type(of) => {
            said.add(place, format!("type {face} = {}", text(&of.ty)), &|paths| paths.visit_type(&of.ty));
        }
        Item::Fn(of) => {
            let line = text(&of.sig).replacen(&format!("fn {name}"), &format!("fn {face}"), 1);
            said.add(place, line, &|paths| paths.visit_signature(&of.sig));
        }
        Item::Struct(of) => {
            said.lines.push(format!("struct {face}{}{}", text(&of.generics), open(&of.attrs)));
            said.fields(place, face, &of.fields, false);
        }
        Item::Enum(of) => {
            said.lines.push(format!("enum {face}{}{}", text(&of.generics), open(&of.attrs)));
            for variant in &of.variants {
                let own = format!("{face}::{}", variant.ident);
                said.lines.push(own.clone());
                said.fields(place, &own, &variant.fields, true);
            }
        }
        Item::Trait(of) => {
            said.lines.push(format!("trait {face}: {}", text(&of.supertraits)));
            for item in &of.items {
                if let syn::TraitItem::Fn(method) = item {
                    let line = text(&method.sig).replacen("fn ", &format!("fn {face}::"), 1);
                    said.add(place, line, &|paths| paths.visit_signature(&method.sig));
                }
            }
        }
        _ => {}
    }
    let own = Target::Item(place.clone(), name.to_owned());
    for (place, items) in &tree.0 {
        for item in items {
            let Item::Impl(block) = item else { continue };
            let Type::Path(of) = &*block.self_ty else { continue };
            let path: Vec<String> =
                of.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            if tree.resolve(place, &path).as_ref() != Some(&own) {
                continue;
            }
            if let Some((_, path, _)) = &block.trait_ {
                said.lines.push(format!("impl {} for {face}", text(path)));
                continue;
            }
            for item in &block.items {
                match item {
                    ImplItem::Fn(method) if public(&method.vis) && !hidden(&method.attrs) => {
                        let line = text(&method.sig).replacen("fn ", &format!("fn {face}::"), 1);
                        said.add(place, line, &|paths| paths.visit_signature(&method.sig));
                    }
                    ImplItem::Const(of) if public(&of.vis) && !hidden(&of.attrs) => {
                        said.lines.push(format!("const {face}::{}: {}", of.ident, text(&of.ty)));
                    }
                    _ => {}
                }
            }
        }
    }
    said.lines.sort_by_key(|line| !(line.starts_with("struct ") || line.starts_with("enum ")));
    said
}

#[test]
fn the_public_face_is_the_one_that_is_checked_in() {
    let tree = Tree::load();
    let mut face = Face::default();
    face.add(&tree, &Vec::new(), "lowbit");
    let known: BTreeSet<&Target> = face.shown.values().collect();
    let (mut lines, mut unnamed) = (Vec::new(), BTreeSet::new());
    for (name, target) in &face.shown {
        let Target::Item(place, own) = target else { continue };
        let said = said(&tree, name, place, own);
        lines.extend(said.lines);
        for (place, path) in said.types {
            if let Some(target @ Target::Item(..)) = tree.resolve(&place, &path)
                && !known.contains(&target)
            {
                unnamed.insert(format!("{name} speaks of {}, which others cannot name", path.join("::")));
            }
        }
    }
    let listed = lines.join("\n") + "\n";
    let path = root().join(LIST);
    if std::env::var_os("LOWBIT_BLESS").is_some() {
        std::fs::write(&path, &listed).unwrap();
    }
    assert!(unnamed.is_empty(), "{} types:\n{}", unnamed.len(), Vec::from_iter(unnamed).join("\n"));
    let checked_in = read(&path);
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) =
        (checked_in.lines().collect(), listed.lines().collect());
    let gone: Vec<_> = before.difference(&now).map(|line| format!("- {line}")).collect();
    let new: Vec<_> = now.difference(&before).map(|line| format!("+ {line}")).collect();
    assert!(
        checked_in == listed,
        "the public face changed; if that is meant, write it anew: LOWBIT_BLESS=1 cargo test --test cpu api\n{}\n{}",
        gone.join("\n"),
        new.join("\n")
    );
}

#[test]
fn everything_shared_may_go_to_other_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<lowbit::Error>();
    shared::<lowbit::classify::Classifier>();
    shared::<lowbit::gpu::Buffer>();
    shared::<lowbit::gpu::Context>();
    shared::<lowbit::gpu::Options>();
    shared::<lowbit::kmeans::Fitted>();
    shared::<lowbit::kmeans::KMeans>();
    shared::<lowbit::kmeans::MiniBatchKMeans>();
    shared::<lowbit::kmeans::ProductQuantizer>();
    shared::<lowbit::kv::KvCache>();
    shared::<lowbit::matmul::Activations>();
    shared::<lowbit::matmul::Weights>();
    shared::<lowbit::quantize::Plan<'_>>();
    shared::<lowbit::roofline::Roofs>();
}
