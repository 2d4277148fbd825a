// Documents that are JSON objects: a line each, or the values of one file.
#include <algorithm>
#include <optional>

#include "core/check.h"
#include "io/document_readers.h"
#include "io/python_json.h"

namespace weft {
namespace {

constexpr const char* kConversations[] = {"messages", "conversations", "conversation"};

// What stands where the text should, if that is a conversation.
bool is_conversation(const JsonItems& object, const std::string& field) {
  if (!field.empty()) {
    const JsonItem* item = object.find(field);
    return item && item->value.starts_with('[') && item->value.find('{') != std::string::npos;
  }
  return std::any_of(std::begin(kConversations), std::end(kConversations), [&](const char* key) {
    const JsonItem* item = object.find(key);
    return item && item->value.starts_with('[');
  });
}

// Why an object is no document.
struct Fault {
  std::string what;
};

class ObjectReader {
 public:
  explicit ObjectReader(const ReadOptions& options) : o_(options) {}

  // Throws Fault.
  Document read(const JsonItems& object, std::string_view whole) const {
    std::string key = o_.field;
    if (key.empty()) key = object.find("text") ? "text" : "prompt";
    const JsonItem* text = object.find(key);
    if ((!text || json_type(text->value) == std::string("array")) &&
        is_conversation(object, o_.field))
      throw Fault{
          " is a conversation, not a text; write out its text with the model's chat template first "
          "(transformers: tokenizer.apply_chat_template(messages, tokenize=False))"};
    if (!text)
      throw Fault{fmt::format(" has no field '{}'; it has: {}",
                              o_.field.empty() ? "text" : o_.field, object.keys())};
    Document document = {.text = string_of(*text)};
    for (const ExtraField& extra : o_.extras) {
      const JsonItem* item = object.find(extra.name);
      if (!item)
        throw Fault{fmt::format(" has no field '{}' (choose one with {}); it has: {}", extra.name,
                                extra.option, object.keys())};
      Json value = json_value(item->value);
      const bool digits = item->value.find_first_not_of("-0123456789") == std::string_view::npos;
      if (value.is_number_float() && digits) value = std::string(item->value);  // beyond 64 bits
      document.extras.push_back(std::move(value));
    }
    read_id(object, document);
    read_pair(object, document);
    if (o_.keep_options) document.options = json_value(whole);
    return document;
  }

 private:
  static std::string string_of(const JsonItem& item) {
    if (!item.value.starts_with('"'))
      throw Fault{fmt::format(": field '{}' is {}, not text", item.key, json_type(item.value))};
    return json_string(item.value);
  }

  static void read_id(const JsonItems& object, Document& document) {
    const JsonItem* id = object.find("id");
    if (!id || id->value == "null") return;
    if (id->value.starts_with('"')) {
      document.id = json_string(id->value);
      return;
    }
    // NaN is no JSON that others could read back, so it goes on as a text. So do lists and objects.
    document.id = std::string(id->value);
    const bool finite = id->value.find_first_of("NIy[{") == std::string_view::npos;
    if (finite) document.id_json = document.id;
    if (id->value.find_first_of("[{") != std::string_view::npos)
      document.id = json_text(json_value(id->value));
  }

  void read_pair(const JsonItems& object, Document& document) const {
    const JsonItem* pair = object.find(o_.pair_field.empty() ? "text_pair" : o_.pair_field);
    if (!pair && !o_.pair_field.empty())
      throw Fault{fmt::format(" has no field '{}' (choose one with --pair-field); it has: {}",
                              o_.pair_field, object.keys())};
    if (pair && pair->value != "null") document.pair = string_of(*pair);
  }

  const ReadOptions& o_;
};

// An object as a document; nothing where it was rejected. `whole` is its text.
std::optional<Document> document_of(const DocumentReader& reader, const JsonItems& object,
                                    std::string_view whole, std::int64_t line) {
  try {
    Document document = ObjectReader(reader.options).read(object, whole);
    document.line = line;
    document.number = reader.number;
    return document;
  } catch (const Fault& fault) {
    reader.reject(line, fault.what);
    return std::nullopt;
  }
}

std::string not_an_object(const std::string& reason, std::size_t at) {
  return fmt::format(" is not a JSON object ({}, at character {})", reason, at + 1);
}

}  // namespace

void DocumentReader::json_lines() {
  std::string line;
  while (lines.next(line)) {
    if (is_blank(line)) continue;
    if (lines.ours()) {
      try {
        std::size_t at = skip_json_spaces(line, 0);
        const std::size_t begin = at;
        if (line[at] != '{') throw JsonFault("it does not begin with '{'", at);
        const JsonItems object(line, at);
        const std::string_view whole(line.data() + begin, at - begin);
        at = skip_json_spaces(line, at);
        if (at != line.size()) throw JsonFault("something follows the object", at);
        std::optional<Document> document = document_of(*this, object, whole, lines.number());
        if (document) each(std::move(*document));
      } catch (const JsonFault& fault) {
        reject(lines.number(), not_an_object(fault.what(), fault.at));
      }
    }
    ++number;
  }
}

// Objects one behind another, or lists of them. It is whole in memory, and its first byte's rank's.
void DocumentReader::json_file() {
  std::string line, text;
  bool ours = true;
  while (ours && lines.next(line)) {
    if (lines.number() == 1) ours = lines.ours();
    text += line;
    text += '\n';
    lines.check_size(text.size(), 1);
  }
  if (!ours) return;
  std::size_t counted = 0;
  std::int64_t at_line = 1;
  const auto line_of = [&](std::size_t at) {
    at_line += std::count(text.begin() + static_cast<std::ptrdiff_t>(counted),
                          text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    counted = at;
    return at_line;
  };
  const auto take = [&](std::size_t& at) {
    const std::size_t begin = at;
    const JsonItems object(text, at);
    const std::string_view whole(text.data() + begin, at - begin);
    std::optional<Document> document = document_of(*this, object, whole, line_of(begin));
    ++number;
    if (document) each(std::move(*document));
  };
  std::size_t at = skip_json_spaces(text, 0);
  try {
    while (at < text.size()) {
      if (text[at] == '[') {
        const JsonItems list(text, at);
        for (const JsonItem& item : list.all()) {
          auto begin = static_cast<std::size_t>(item.value.data() - text.data());
          if (text[begin] != '{') throw JsonFault("an element of the list is no object", begin);
          take(begin);
        }
      } else {
        if (text[at] != '{') throw JsonFault("it holds neither an object nor a list", at);
        take(at);
      }
      at = skip_json_spaces(text, at);
    }
  } catch (const JsonFault& fault) {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(fault.at, text.size()));
    user_error("{}: not valid JSON in line {} ({})", path, 1 + std::count(text.begin(), end, '\n'),
               fault.what());
  }
}

}  // namespace weft
