// How the parts that a catalogue and a split share lie in HDF5.
#pragma once

#include <string>
#include <vector>

#include "src/data/catalogue.h"

namespace whyrec::store {
class Hdf5Reader;
class Hdf5Writer;
}  // namespace whyrec::store

namespace whyrec::data {

// items/{id, title, brand, description}: texts; items/untitled: 0 or 1; items/categories: texts,
// with offsets per item.
void SaveItems(store::Hdf5Writer& file, const std::vector<Item>& items);
std::vector<Item> LoadItems(const store::Hdf5Reader& file);

// name/{user, item}: rows; name/text.
void SaveExplanations(store::Hdf5Writer& file, const std::string& name,
                      const std::vector<ExplanationRecord>& records);
std::vector<ExplanationRecord> LoadExplanations(const store::Hdf5Reader& file,
                                                const std::string& name);

}  // namespace whyrec::data
