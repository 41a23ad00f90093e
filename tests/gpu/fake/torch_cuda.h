// What the stand-in for LibTorch's CUDA library offers besides.
#pragma once

// The bytes behind an address of its device memory; null: it is no such address. Found with dlsym.
extern "C" void* FakeDeviceBytes(const void* address);
