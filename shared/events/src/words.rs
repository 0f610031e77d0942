//! AWS's words, of which there may be more than we know.

/// An enum of AWS's words. AWS adds words without notice, so every one of these has an arm for the rest.
macro_rules! words {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this version does not know: printable ASCII, 128 characters at most.
            Other(String),
        }

        impl $name {
            /// Reads AWS's word.
            pub fn from_word(word: &str) -> Self {
                match word {
                    $($word $(| $alias)* => Self::$variant,)+
                    other => Self::Other($crate::poison::printable(other, $crate::poison::MAX_TEXT)),
                }
            }

            /// The word, as AWS writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use words;
