//! `derive(Record)`: a Rust type as a schema of `gateway-model`.
//!
//! The macro knows no attribute names. Every item of `#[record(…)]` becomes a call on the builder
//! it stands for, so the field language grows by adding a method to `gateway_model::schema::Field`:
//!
//! ```text
//! /// Rejects bodies larger than a limit.
//! #[derive(Deserialize, Record)]
//! #[record(check = Check::AtLeastOneOf(&["a", "b"]))]      // Record::check(…)
//! struct Config {
//!     /// Largest body accepted, in `size_unit`.
//!     #[record(default = 128, between(1, 1024))]           // Field::default(128).between(1, 1024)
//!     allowed_payload_size: u32,
//! }
//! ```
//!
//! A struct with named fields becomes a record; `#[serde(rename = "…")]` gives the JSON key, and
//! the doc comment the description. An enum of unit variants becomes text with `one_of`, spelled
//! by `#[serde(rename_all = "…")]` or `#[serde(rename = "…")]`. `#[record(skip)]` leaves a field
//! out.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, Ident, LitStr, Token, parenthesized};

/// Derives `gateway_model::schema::Schema`.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> syn::Result<Tokens> {
    let krate = if std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "gateway-model") {
        quote!(crate)
    } else {
        quote!(::gateway_model)
    };
    match &input.data {
        Data::Struct(data) => record(input, &data.fields, &krate),
        Data::Enum(data) => choices(input, data, &krate),
        Data::Union(_) => Err(syn::Error::new_spanned(input, "a union is no record")),
    }
}

fn record(input: &DeriveInput, fields: &Fields, krate: &Tokens) -> syn::Result<Tokens> {
    let Fields::Named(fields) = fields else {
        return Err(syn::Error::new_spanned(input, "a record has named fields"));
    };
    let mut calls = Vec::new();
    for field in &fields.named {
        let items = Item::all(&field.attrs)?;
        if items.iter().any(|item| item.method == "skip") {
            continue;
        }
        let (Some(ident), ty) = (&field.ident, &field.ty) else { continue };
        let name = serde_value(&field.attrs, "rename")?
            .unwrap_or_else(|| ident.to_string().trim_start_matches("r#").to_owned());
        let doc = doc(&field.attrs);
        let items = items.iter().map(Item::call);
        calls.push(quote! {
            .field({
                #[allow(unused_imports)]
                use #krate::schema::{Auto, Rule, types};
                #krate::schema::Field::of::<#ty>(#name).doc(#doc)#(#items)*
            })
        });
    }
    let items = Item::all(&input.attrs)?;
    let items = items.iter().map(Item::call);
    let name = &input.ident;
    let about = doc(&input.attrs);
    Ok(quote! {
        impl #krate::schema::Schema for #name {
            fn kind() -> #krate::schema::Kind {
                #krate::schema::Kind::Record(::std::boxed::Box::new(
                    <#krate::schema::Record as ::std::default::Default>::default()
                        .doc(#about)#(#calls)*#(#items)*
                ))
            }
        }
    })
}

fn choices(input: &DeriveInput, data: &syn::DataEnum, krate: &Tokens) -> syn::Result<Tokens> {
    let style = serde_value(&input.attrs, "rename_all")?;
    let mut names = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new_spanned(variant, "a choice carries no data"));
        }
        let name = match serde_value(&variant.attrs, "rename")? {
            Some(name) => name,
            None => spell(&variant.ident.to_string(), style.as_deref()),
        };
        names.push(name);
    }
    let name = &input.ident;
    Ok(quote! {
        impl #krate::schema::Schema for #name {
            fn kind() -> #krate::schema::Kind {
                #krate::schema::Kind::String
            }
            fn rules() -> ::std::vec::Vec<#krate::schema::Rule> {
                ::std::vec![#krate::schema::Rule::OneOf(::std::vec![#(#names.into()),*])]
            }
        }
    })
}

fn spell(name: &str, style: Option<&str>) -> String {
    let split = |by: char| {
        let mut out = String::new();
        for (index, letter) in name.chars().enumerate() {
            if letter.is_uppercase() && index > 0 {
                out.push(by);
            }
            out.extend(letter.to_lowercase());
        }
        out
    };
    match style {
        Some("lowercase") => name.to_lowercase(),
        Some("UPPERCASE") => name.to_uppercase(),
        Some("snake_case") => split('_'),
        Some("kebab-case") => split('-'),
        Some("SCREAMING_SNAKE_CASE") => split('_').to_uppercase(),
        _ => name.to_owned(),
    }
}

/// One item of `#[record(…)]`: `name`, `name(args)` or `name = value`.
struct Item {
    method: Ident,
    args: Punctuated<Expr, Token![,]>,
}

impl Item {
    fn all(attrs: &[Attribute]) -> syn::Result<Vec<Self>> {
        let mut items = Vec::new();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("record")) {
            items.extend(attr.parse_args_with(Punctuated::<Self, Token![,]>::parse_terminated)?);
        }
        Ok(items)
    }

    fn call(&self) -> Tokens {
        let Self { method, args } = self;
        quote!(.#method(#args))
    }
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let method: Ident = input.call(syn::ext::IdentExt::parse_any)?;
        let method = format_ident!("{method}");
        let mut args = Punctuated::new();
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            args.push(input.parse()?);
        } else if input.peek(syn::token::Paren) {
            let inner;
            parenthesized!(inner in input);
            args = Punctuated::parse_terminated(&inner)?;
        }
        Ok(Self { method, args })
    }
}

/// The value of `#[serde(key = "…")]`.
fn serde_value(attrs: &[Attribute], key: &str) -> syn::Result<Option<String>> {
    let mut found = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident(key) {
                found = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.input.peek(Token![=]) {
                let _: Expr = meta.value()?.parse()?;
            } else if meta.input.peek(syn::token::Paren) {
                let inner;
                parenthesized!(inner in meta.input);
                let _: Tokens = inner.parse()?;
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The doc comment, lines joined by blanks.
fn doc(attrs: &[Attribute]) -> String {
    let lines: Vec<String> = attrs
        .iter()
        .filter(|attr| attr.path().is_ident("doc"))
        .filter_map(|attr| match &attr.meta {
            syn::Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                    Some(text.value().trim().to_owned())
                }
                _ => None,
            },
            _ => None,
        })
        .collect();
    lines.join(" ").trim().to_owned()
}
