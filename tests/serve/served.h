// A model as the server reads requests against it, without its weights.
#pragma once

#include <filesystem>

#include "serve/request.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {

inline const std::filesystem::path kServeData = WEFT_TEST_DATA;

struct Served {
  ModelConfig config;
  Tokenizer tokenizer = load_tokenizer(kServeData / "tokenizer");
  ServedModel model{.name = "tiny", .config = config, .tokenizer = tokenizer, .file = {}};

  Served() {
    config.vocab = 1003;
    config.context = 96;
    config.width = 40;
    config.bos_id = 1002;
    model.file.eos = {1002};
    model.chat_file = model.file;
    model.chat_template =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}";
  }

  ServedRequest read(const std::string& body, ServedRoute route = ServedRoute::completions) const {
    return read_request(route, body, model);
  }
};

}  // namespace weft::test
