#include "core/field_values.h"

namespace weft {
namespace {

class Values : public UniformVisitor<Values> {
 public:
  template <class T, class A>
  void each(const char* name, T& value, const A&, const char*) {
    put(name, value);
  }
  OrderedJson object = OrderedJson::object();

 private:
  template <class T>
  void put(const char* name, const T& value) {
    object[name] = value;
  }
  template <class T>
  void put(const char* name, const std::optional<T>& value) {
    if (value) object[name] = *value;
  }
  void put(const char* name, const FlagWord& word) {
    object[name] = word.value.empty() ? OrderedJson(false) : OrderedJson(word.value);
  }
};

}  // namespace

OrderedJson field_values(const VisitFields& fields) {
  Values values;
  fields(values);
  return values.object;
}

}  // namespace weft
