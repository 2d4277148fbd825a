// What the suites of documents share: files, plain and gzip, read alike.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "io/documents.h"
#include "tests/io/shared_folder.h"

namespace weft::test {

namespace fs = std::filesystem;

inline void put_gzip(const fs::path& file, const std::string& content) {
  gzFile out = gzopen(file.c_str(), "wb");
  ASSERT_TRUE(out);
  ASSERT_EQ(gzwrite(out, content.data(), static_cast<unsigned>(content.size())),
            static_cast<int>(content.size()));
  ASSERT_EQ(gzclose(out), Z_OK);
}

inline std::vector<std::string> texts(const std::vector<Document>& documents) {
  std::vector<std::string> list;
  for (const Document& d : documents) list.push_back(d.text);
  return list;
}

using Texts = std::vector<std::string>;

class Documents : public testing::Test {
 protected:
  // The same from the plain file and from its gzip twin.
  std::vector<Document> read(const std::string& ending, const std::string& content,
                             const std::string& field = "") {
    return read_as(ending, content, {.field = field});
  }
  std::vector<Document> read_as(const std::string& ending, const std::string& content,
                                const ReadOptions& how) {
    const fs::path plain = folder_.mine() / ("in" + ending),
                   packed = folder_.mine() / ("in" + ending + ".gz");
    put(plain, content);
    put_gzip(packed, content);
    std::vector<Document> documents = read_documents(plain, how);
    const std::vector<Document> again = read_documents(packed, how);
    EXPECT_EQ(texts(documents), texts(again));
    for (std::size_t i = 0; i < std::min(documents.size(), again.size()); ++i) {
      EXPECT_EQ(documents[i].id, again[i].id);
      EXPECT_EQ(documents[i].line, again[i].line);
      EXPECT_EQ(documents[i].number, again[i].number);
    }
    return documents;
  }
  SharedFolder folder_;
};

}  // namespace weft::test
