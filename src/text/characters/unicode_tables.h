// Texts that make_unicode.py measured; unicode_properties.cpp reads them. Code points are
// hexadecimal, "A-B" is a range with both its ends.
#pragma once

namespace weft::unicode_tables {

// Every code point's general category (Unicode 16): "Cc32 Zs Po3": 32 of Cc from U+0000 on, one of
// Zs, three of Po, …
extern const char* const kCategories;
extern const char* const kCombiningClasses;  // "=230 300-314 …": the classes that are not 0
extern const char* const kLowerCase;         // "A-B=C": lower case beyond Unicode 14's, C that of A
extern const char* const
    kScripts;  // "Han 31350-323AF …": characters that scripts have beyond Unicode 14's

// What differs from the class that the categories give (see unicode_properties.h).
extern const char* const kRegexWord;
extern const char* const kWord;
extern const char* const kPunctuation;
extern const char* const kNumeric;
extern const char* const kMark;
extern const char* const kNonspacingMark;
extern const char* const kControl;
extern const char* const kUndecomposed;  // not decomposed, whatever Unicode says now
extern const char* const kCompatible;    // the same for NFKC and NFKD

}  // namespace weft::unicode_tables
