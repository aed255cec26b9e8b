; *total = *factor * *other + *total, rounded once where the processor can, see fused.py.

target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-f80:128-n8:16:32:64-S128"
target triple = "x86_64-pc-linux-gnu"

define void @softras_fma_f32(float* %factor, float* %other, float* %total) alwaysinline nounwind {
  %a = load float, float* %factor
  %b = load float, float* %other
  %c = load float, float* %total
  %sum = call reassoc ninf nsz float @llvm.fmuladd.f32(float %a, float %b, float %c)
  store float %sum, float* %total
  ret void
}

define void @softras_fma_f64(double* %factor, double* %other, double* %total) alwaysinline nounwind {
  %a = load double, double* %factor
  %b = load double, double* %other
  %c = load double, double* %total
  %sum = call reassoc ninf nsz double @llvm.fmuladd.f64(double %a, double %b, double %c)
  store double %sum, double* %total
  ret void
}

declare float @llvm.fmuladd.f32(float, float, float)
declare double @llvm.fmuladd.f64(double, double, double)
