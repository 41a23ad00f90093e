# torch::cpu from a LibTorch folder (a wheel's `torch/` or an unpacked LibTorch zip), without its own
# CMake files: those of the CUDA build demand a CUDA tool kit.
if(NOT LibTorch_ROOT)
  set(LibTorch_ROOT $ENV{LibTorch_ROOT})
endif()
if(NOT EXISTS ${LibTorch_ROOT}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "no LibTorch at '${LibTorch_ROOT}': run launch/setup and launch/build, "
                      "or give -DLibTorch_ROOT=<folder with lib/libtorch_cpu.so>")
endif()
# torch/include has an old google/protobuf that would shadow ours, so only these folders are included.
set(shown ${CMAKE_BINARY_DIR}/torch-include)
file(MAKE_DIRECTORY ${shown})
foreach(folder ATen c10 torch caffe2)
  file(CREATE_LINK ${LibTorch_ROOT}/include/${folder} ${shown}/${folder} SYMBOLIC)
endforeach()
add_library(torch::cpu INTERFACE IMPORTED)
set_target_properties(torch::cpu PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "${shown};${LibTorch_ROOT}/include/torch/csrc/api/include"
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${shown};${LibTorch_ROOT}/include/torch/csrc/api/include")
target_link_libraries(torch::cpu INTERFACE ${LibTorch_ROOT}/lib/libtorch_cpu.so ${LibTorch_ROOT}/lib/libc10.so)
# libtorch_cpu.so finds the CUDA runtime wheels through its own run path; the linker need not.
target_link_options(torch::cpu INTERFACE -Wl,--allow-shlib-undefined)
