"""Which of torch's operators a model file may name: arithmetic on tensors, and nothing that leaves them.

The list says what is allowed. What is not on it (operators that map files, print, save, make custom objects, or call
back into Python) is refused, today's and tomorrow's.
"""

_TENSOR_OPERATORS_LISTED = """
      abs absolute acos acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
adaptive_max_pool2d add addcdiv addcmul addmm affine_grid_generator alias all amax amin aminmax any arange argmax
argmin argsort as_strided asin asinh atan atan2 atanh avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bernoulli
bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm broadcast_tensors
broadcast_to cat cdist     ceil celu channel_shuffle chunk clamp clamp_max clamp_min clip clone col2im column_stack
concat concatenate     constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d
conv_transpose3d convolution copy     copysign cos cosh cosine_similarity cross cummax cummin cumprod cumsum deg2rad
detach diag diag_embed diagonal     diff div divide dot dropout dstack einsum elu embedding empty empty_like eq erf
erfc exp exp2 expand expand_as expm1 eye     feature_dropout fill flatten flip floor floor_divide fmod frac
frobenius_norm full full_like gather ge gelu glu greater     greater_equal grid_sampler grid_sampler_2d group_norm
gt hardshrink hardsigmoid hardswish hardtanh hstack im2col     index index_add index_copy index_fill index_put
index_select inner instance_norm is_nonzero isclose isfinite isinf     isnan item kron layer_norm le leaky_relu lerp
less less_equal lift_fresh lift_fresh_copy linalg_norm linalg_vector_norm     linear linspace log log10 log1p log2
log_sigmoid log_softmax logaddexp logical_and logical_not logical_or logical_xor     logit logspace logsumexp lt
masked_fill masked_scatter masked_select matmul max max_pool1d max_pool1d_with_indices     max_pool2d
max_pool2d_with_indices max_pool3d max_pool3d_with_indices maximum mean median meshgrid min minimum mish mm movedim
moveaxis mul multiply mv nan_to_num narrow native_batch_norm native_channel_shuffle native_dropout native_group_norm
native_layer_norm ne neg negative new_empty new_full new_ones new_zeros nonzero norm normalize not_equal numel
numpy_T ones ones_like outer pad permute pixel_shuffle pixel_unshuffle pow prelu prod rad2deg reciprocal
reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 remainder repeat repeat_interleave replication_pad1d
replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg rms_norm roll rot90 round rsqrt rsub
scalar_tensor scaled_dot_product_attention scatter scatter_add scatter_reduce select select_scatter selu sgn sigmoid
sign     silu sin sinc sinh size slice slice_scatter softmax softmin softplus softshrink sort split split_with_sizes
sqrt     square squeeze stack std std_mean stride sub subtract sum sym_constrain_range sym_constrain_range_for_size
sym_numel     sym_size sym_storage_offset sym_stride t take take_along_dim tan tanh tensor_split tensordot threshold
tile to topk     transpose tril triu true_divide trunc type_as unbind unflatten unfold unsafe_chunk unsafe_split
unsafe_split_with_sizes unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean view view_as vstack where xlogy zero zeros
zeros_like     __and__ __or__ __xor__ __lshift__ __rshift__ _adaptive_avg_pool2d _adaptive_avg_pool3d _assert_scalar
_assert_tensor_metadata _convolution _log_softmax _native_batch_norm_legit _native_batch_norm_legit_no_training
_prelu_kernel _reshape_alias _safe_softmax _scaled_dot_product_flash_attention_for_cpu _softmax _to_copy
_unsafe_index _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
_upsample_nearest_exact2d
"""
_TENSOR_OPERATORS = frozenset(_TENSOR_OPERATORS_LISTED.split())
#: What scripts say besides, in `torch.` or `ops.aten.`: lists, shapes and numbers.
_SCRIPT_OPERATORS_LISTED = """
      warn __contains__ __derive_index __getitem__ __interpolate __is__ __isnot__ __not__ __range_length _set_item
append contiguous dim device dtype extend feature_alpha_dropout format get_device insert is_complex
is_floating_point keys len     len list pop items values get sub_ tensor floordiv mod select hash ord index_put_
adaptive_max_pool3d alpha_dropout     lower upper startswith endswith join strip ScalarImplicit IntImplicit
FloatImplicit Int Float Bool NumToTensor _unwrap_optional requires_grad_ detach_ data grad
"""
_SCRIPT_OPERATORS = frozenset(_SCRIPT_OPERATORS_LISTED.split())
_ALONE_LISTED = """
      operator.add operator.sub operator.mul operator.truediv operator.floordiv operator.mod operator.pow
operator.neg     operator.pos operator.getitem operator.eq operator.ne operator.lt operator.le operator.gt
operator.ge operator.and_     operator.or_ operator.not_ math.ceil math.floor math.sqrt math.trunc torch.sym_float
torch.sym_int torch.sym_ite     torch.sym_max torch.sym_min torch.sym_not torch._sym_sqrt
"""
_ALONE = frozenset(_ALONE_LISTED.split())
_OTHER_SETS = {
    "prims": frozenset({"convert_element_type", "broadcast_in_dim", "iota", "device_put"}),
    "quantized_decomposed": frozenset(
        {"quantize_per_tensor", "dequantize_per_tensor", "quantize_per_channel", "dequantize_per_channel"}
    ),
}


def is_tensor_operator(name: str) -> bool:
    """True for a name such as `conv2d` or `relu_` that computes tensors from tensors.

    Example:
        >>> is_tensor_operator("relu_"), is_tensor_operator("from_file")
        (True, False)
    """
    return name in _TENSOR_OPERATORS or (name.endswith("_") and name[:-1] in _TENSOR_OPERATORS)


def is_script_operator(name: str) -> bool:
    """True for what the source of TorchScript may call by that name: tensor operators, lists, shapes and numbers."""
    return is_tensor_operator(name) or name in _SCRIPT_OPERATORS


def is_graph_call(target: str) -> bool:
    """True for what runs a part of a torch.export graph as it would run without: below `no_grad` or `autocast`.

    Example:
        >>> is_graph_call("torch.ops.higher_order.wrap_with_autocast"), is_graph_call("torch.ops.higher_order.cond")
        (True, False)
    """
    return target in ("torch.ops.higher_order.wrap_with_set_grad_enabled", "torch.ops.higher_order.wrap_with_autocast")


def is_call_target(target: str) -> bool:
    """True for a target of a torch.export graph that is on the list.

    Example:
        >>> is_call_target("torch.ops.aten.conv2d.default"), is_call_target("torch.ops.aten.from_file.default")
        (True, False)
    """
    if target.removeprefix("_") in _ALONE or target in _ALONE:
        return True
    parts = target.split(".")
    if not 4 <= len(parts) <= 5 or parts[:2] != ["torch", "ops"] or not (len(parts) == 4 or parts[4].isidentifier()):
        return False
    if parts[2] == "aten":
        return is_tensor_operator(parts[3])
    return parts[3] in _OTHER_SETS.get(parts[2], frozenset())
