//! Generates typed bindings of components from WIT.

mod exports;
mod generate;
mod imports;
mod layout;
mod names;
mod options;
mod place;
mod source;
mod types;
mod values;
mod world;

use proc_macro::TokenStream;

/// Generates bindings.
#[proc_macro]
pub fn bindgen(input: TokenStream) -> TokenStream {
    let options = syn::parse_macro_input!(input as options::Options);
    generate::bindings(&options).unwrap_or_else(syn::Error::into_compile_error).into()
}
