//! The crate's source as parsed modules: what its imports lead to, and what it shows to others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::{Attribute, Item, UseTree, Visibility};

/// A module's path from the crate's root, without `crate`.
pub type Place = Vec<String>;

/// The items of every module of the library but those of tests.
pub struct Tree(pub BTreeMap<Place, Vec<Item>>);

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Module(Place),
    /// An item, by the module that defines it.
    Item(Place, String),
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn has(attributes: &[Attribute], text: &str) -> bool {
    attributes.iter().any(|attribute| {
        attribute.to_token_stream().to_string().replace(' ', "").contains(&text.replace(' ', ""))
    })
}

/// Whether an item is left out of the documentation.
pub fn hidden(attributes: &[Attribute]) -> bool {
    has(attributes, "doc(hidden)")
}

pub fn of_tests(attributes: &[Attribute]) -> bool {
    has(attributes, "cfg(test)")
}

/// The name, visibility and attributes of an item that has a name.
pub fn named(item: &Item) -> Option<(String, &Visibility, &[Attribute])> {
    let (name, vis, attributes) = match item {
        Item::Const(of) => (&of.ident, &of.vis, &of.attrs),
        Item::Enum(of) => (&of.ident, &of.vis, &of.attrs),
        Item::Fn(of) => (&of.sig.ident, &of.vis, &of.attrs),
        Item::Static(of) => (&of.ident, &of.vis, &of.attrs),
        Item::Struct(of) => (&of.ident, &of.vis, &of.attrs),
        Item::Trait(of) => (&of.ident, &of.vis, &of.attrs),
        Item::Type(of) => (&of.ident, &of.vis, &of.attrs),
        _ => return None,
    };
    Some((name.to_string(), vis, attributes))
}

/// The paths that a `use` leads to, each with the name that it gets; `*` for all of a module.
pub fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let with = |name: &str| before.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident.to_string()), found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
        UseTree::Glob(_) => found.push((before.to_vec(), "*".into())),
        UseTree::Rename(rename) => found.push((with(&rename.ident.to_string()), rename.rename.to_string())),
        UseTree::Name(name) if name.ident == "self" => {
            found.push((before.to_vec(), before.last().cloned().unwrap_or_default()));
        }
        UseTree::Name(name) => found.push((with(&name.ident.to_string()), name.ident.to_string())),
    }
}

impl Tree {
    pub fn load() -> Self {
        let mut tree = Self(BTreeMap::new());
        let file = root().join("src/lib.rs");
        let items = syn::parse_file(&read(&file)).unwrap().items;
        tree.add(Vec::new(), items, &root().join("src"));
        tree
    }

    fn add(&mut self, place: Place, items: Vec<Item>, folder: &Path) {
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if of_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let inner: Place = place.iter().cloned().chain([name.clone()]).collect();
            if let Some((_, items)) = &module.content {
                self.add(inner, items.clone(), &folder.join(&name));
                continue;
            }
            let flat = folder.join(&name).with_extension("rs");
            let path = if flat.is_file() { flat } else { folder.join(&name).join("mod.rs") };
            let items = syn::parse_file(&read(&path)).unwrap().items;
            self.add(inner, items, &folder.join(&name));
        }
        self.0.insert(place, items);
    }

    /// The imports of a module: each name with its path.
    pub fn imports(&self, place: &Place) -> Vec<(Vec<String>, String)> {
        let mut found = Vec::new();
        for item in &self.0[place] {
            if let Item::Use(import) = item {
                leaves(&import.tree, &[], &mut found);
            }
        }
        found
    }

    /// What `path` stands for in the module `place`; nothing for other crates.
    pub fn resolve(&self, place: &Place, path: &[String]) -> Option<Target> {
        self.follow(place, path, 0)
    }

    fn follow(&self, place: &Place, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        if depth > 12 {
            return None;
        }
        let start = match first.as_str() {
            "crate" => Target::Module(Vec::new()),
            "self" => Target::Module(place.clone()),
            "super" => Target::Module(place[..place.len().checked_sub(1)?].to_vec()),
            name => self.member(place, name, depth)?,
        };
        match (start, rest) {
            (found, []) => Some(found),
            (Target::Module(place), rest) => self.follow(&place, rest, depth + 1),
            // A variant, or what belongs to a type.
            (found @ Target::Item(..), _) => Some(found),
        }
    }

    /// What `name` stands for in a module.
    fn member(&self, place: &Place, name: &str, depth: usize) -> Option<Target> {
        let items = self.0.get(place)?;
        let inner: Place = place.iter().cloned().chain([name.to_owned()]).collect();
        if items.iter().filter_map(named).any(|(own, ..)| own == name) {
            return Some(Target::Item(place.clone(), name.to_owned()));
        }
        if self.0.contains_key(&inner) {
            return Some(Target::Module(inner));
        }
        let (mut globs, imports) = (Vec::new(), self.imports(place));
        for (path, own) in imports {
            if own == name && path.first().is_none_or(|first| first != name || path.len() > 1) {
                return self.follow(place, &path, depth + 1);
            }
            if own == "*" {
                globs.push(path);
            }
        }
        globs.iter().find_map(|path| match self.follow(place, path, depth + 1)? {
            Target::Module(inner) if inner != *place => self.member(&inner, name, depth + 1),
            _ => None,
        })
    }
}
