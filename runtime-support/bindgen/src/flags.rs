//! Flags: a struct of bits with a constant for each flag, and its way over the border.
//!
//! Up to 8 flags are a byte, up to 16 a number of 16 bits, and more of them words of 32 bits each.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use wit_parser::{Flags, FlagsRepr, Int, TypeId};

use crate::generate::Generator;
use crate::names;
use crate::values::{Bodies, Tag};

impl Generator<'_> {
    pub(crate) fn flags(&self, id: TypeId, name: &Ident, docs: &TokenStream, flags: &Flags) -> TokenStream {
        let (words, word, width) = match flags.repr() {
            FlagsRepr::U8 => (1, quote!(u8), 8),
            FlagsRepr::U16 => (1, quote!(u16), 16),
            FlagsRepr::U32(words) => (words.max(1), quote!(u32), 32),
        };
        let mut consts = Vec::new();
        let mut names_of = Vec::new();
        let mut all = vec![0u64; words];
        for (at, flag) in flags.flags.iter().enumerate() {
            let docs = crate::generate::docs(&flag.docs);
            let constant = names::ident(&names::screaming(&flag.name));
            let bits = (0..words).map(|word| {
                let bit = if at / width == word { 1u64 << (at % width) } else { 0 };
                Literal::u64_unsuffixed(bit)
            });
            consts.push(quote!(#docs pub const #constant: Self = Self { bits: [#(#bits),*] };));
            let text = &flag.name;
            names_of.push(quote!((#text, Self::#constant)));
            all[at / width] |= 1 << (at % width);
        }
        let all = all.iter().map(|bits| Literal::u64_unsuffixed(*bits));
        let each: Vec<usize> = (0..words).collect();
        let operators = [
            (quote!(BitOr), quote!(bitor), quote!(BitOrAssign), quote!(bitor_assign), quote!(union)),
            (quote!(BitAnd), quote!(bitand), quote!(BitAndAssign), quote!(bitand_assign), quote!(intersection)),
            (quote!(Sub), quote!(sub), quote!(SubAssign), quote!(sub_assign), quote!(difference)),
        ];
        let operators = operators.iter().map(|(binary, binary_fn, assign, assign_fn, function)| {
            quote!(
                impl ::core::ops::#binary for #name {
                    type Output = Self;
                    #[inline]
                    fn #binary_fn(self, other: Self) -> Self { self.#function(other) }
                }
                impl ::core::ops::#assign for #name {
                    #[inline]
                    fn #assign_fn(&mut self, other: Self) { *self = self.#function(other); }
                }
            )
        });
        let values = self.flags_values(id, name, flags, words);
        quote!(
            #docs
            #[derive(Clone, Copy, PartialEq, Eq, Hash)]
            pub struct #name { bits: [#word; #words] }
            impl #name {
                #(#consts)*
                const ALL: Self = Self { bits: [#(#all),*] };
                /// No flag.
                #[inline]
                pub const fn empty() -> Self { Self { bits: [0; #words] } }
                /// All flags.
                #[inline]
                pub const fn all() -> Self { Self::ALL }
                /// Whether there are none.
                #[inline]
                pub const fn is_empty(self) -> bool { #(self.bits[#each] == 0)&&* }
                /// Whether all of `other` are among them.
                #[inline]
                pub const fn contains(self, other: Self) -> bool {
                    #(self.bits[#each] & other.bits[#each] == other.bits[#each])&&*
                }
                /// Whether any of `other` is among them.
                #[inline]
                pub const fn intersects(self, other: Self) -> bool { !self.intersection(other).is_empty() }
                /// Those in either.
                #[inline]
                pub const fn union(self, other: Self) -> Self {
                    Self { bits: [#(self.bits[#each] | other.bits[#each]),*] }
                }
                /// Those in both.
                #[inline]
                pub const fn intersection(self, other: Self) -> Self {
                    Self { bits: [#(self.bits[#each] & other.bits[#each]),*] }
                }
                /// Those not in `other`.
                #[inline]
                pub const fn difference(self, other: Self) -> Self {
                    Self { bits: [#(self.bits[#each] & !other.bits[#each]),*] }
                }
                /// Adds `other`.
                #[inline]
                pub fn insert(&mut self, other: Self) { *self = self.union(other); }
                /// Takes `other` away.
                #[inline]
                pub fn remove(&mut self, other: Self) { *self = self.difference(other); }
            }
            #(#operators)*
            impl ::core::ops::Not for #name {
                type Output = Self;
                #[inline]
                fn not(self) -> Self { Self::ALL.difference(self) }
            }
            impl ::core::default::Default for #name {
                #[inline]
                fn default() -> Self { Self::empty() }
            }
            impl ::core::fmt::Debug for #name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    let mut set = f.debug_set();
                    for (name, flag) in [#(#names_of),*] {
                        if self.contains(flag) {
                            set.entry(&::core::format_args!("{name}"));
                        }
                    }
                    set.finish()
                }
            }
            #values
        )
    }

    fn flags_values(&self, id: TypeId, name: &Ident, flags: &Flags, words: usize) -> TokenStream {
        let (tag, word) = match flags.repr() {
            FlagsRepr::U8 => (Int::U8, quote!(u8)),
            FlagsRepr::U16 => (Int::U16, quote!(u16)),
            FlagsRepr::U32(_) => (Int::U32, quote!(u32)),
        };
        let Tag { write, read, ty: _ } = Tag::new(tag);
        let wit = flags.flags.iter().map(|flag| &flag.name);
        let each: Vec<usize> = (0..words).collect();
        let offsets: Vec<Literal> = (0..words as u32).map(|word| Literal::u32_unsuffixed(4 * word)).collect();
        // Bits that stand for no flag are not looked at.
        let bodies = Bodies {
            matches: quote!(ty.is_flags(&[#(#wit),*])),
            lower: quote!(#(flat.push(self.bits[#each] as u64);)*),
            store: quote!(#(cx.#write(offset + #offsets, self.bits[#each]);)*),
            lift: quote!(::core::result::Result::Ok(
                Self { bits: [#({ let _: usize = #each; flat.next() as #word }),*] }.intersection(Self::ALL)
            )),
            load: quote!(::core::result::Result::Ok(
                Self { bits: [#(cx.#read(offset + #offsets)),*] }.intersection(Self::ALL)
            )),
        };
        self.values(id, name, &bodies)
    }
}
