"""The functions of NumPy and SciPy of which autograd, JAX or PyTorch has a gradient, found by asking them.

autograd 1.9.1 by its table of rules; JAX 0.10.2 where the gradient of a call of `calls.py` or `scipy_calls.py` is not
zero; PyTorch 2.13 where the result of such a call has one.
"""

_NAMES = {
    "numpy": """
        abs absolute acos acosh add amax amin angle append apply_along_axis apply_over_axes arccos arccosh
        arcsin arcsinh arctan arctan2 arctanh array_split asin asinh astype atan atan2 atanh atleast_1d
        atleast_2d atleast_3d average block broadcast_arrays broadcast_to cbrt ceil choose clip column_stack
        concat concatenate conj conjugate convolve copy copysign corrcoef correlate cos cosh cov cross cumprod
        cumsum cumulative_prod cumulative_sum deg2rad degrees delete diag diagflat diagonal diff divide divmod
        dot dsplit dstack ediff1d einsum exp exp2 expand_dims expm1 extract fabs fix flip fliplr flipud
        float_power floor floor_divide fmax fmin fmod frexp full geomspace gradient heaviside histogram
        histogram2d histogram_bin_edges histogramdd hsplit hstack hypot i0 imag inner insert interp kron ldexp
        linspace log log10 log1p log2 logaddexp logaddexp2 logspace matmul matrix_transpose matvec max maximum
        mean median meshgrid min minimum mod modf moveaxis multiply nan_to_num nancumprod nancumsum nanmax
        nanmean nanmedian nanmin nanpercentile nanprod nanquantile nanstd nansum nanvar negative nextafter
        outer pad partition percentile permute_dims poly polyadd polyder polydiv polyfit polyint polymul
        polysub polyval positive pow power prod ptp rad2deg radians ravel real real_if_close reciprocal
        remainder repeat reshape resize roll rollaxis roots rot90 round row_stack select sign sin sinc sinh
        sort sort_complex split sqrt square squeeze stack std subtract sum swapaxes take_along_axis tan tanh
        tensordot tile trace transpose trapezoid tril trim_zeros triu true_divide trunc unique unstack unwrap
        vander var vdot vecdot vecmat vsplit vstack where
    """,
    "numpy.fft": """
        fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2 rfftn
    """,
    "numpy.linalg": """
        cholesky cond cross det diagonal eig eigh eigvals eigvalsh inv lstsq matmul matrix_norm matrix_power
        matrix_transpose multi_dot norm outer pinv qr slogdet solve svd svdvals tensordot tensorinv
        tensorsolve trace vecdot vector_norm
    """,
    "scipy.linalg": """
        block_diag cho_factor cho_solve cholesky circulant companion convolution_matrix det eigh expm
        expm_frechet fiedler fiedler_companion hankel inv leslie lu lu_factor qr rsf2csf solve solve_banded
        solve_sylvester solve_triangular sqrtm svd toeplitz
    """,
    "scipy.special": """
        beta betainc betaln boxcox boxcox1p comb dawsn digamma entr erf erfc erfcinv erfcx erfinv exp1 exp2
        expi expit expm1 expn factorial fresnel gamma gammainc gammaincc gammaln gammasgn hyp1f1 hyp2f1 i0 i0e
        i1 i1e iv ive j0 j1 jn kl_div log1p log_ndtr log_softmax loggamma logit logsumexp multigammaln ndtr
        ndtri owens_t poch polygamma psi rel_entr rgamma round sici sinc softmax spence wofz xlog1py xlogy y0
        y1 yn zeta
    """,
}  # fmt: skip
HAVE_GRADIENTS = {room: names.split() for room, names in _NAMES.items()}

# What autograd 1.9.1 wraps without a rule, found by its table of rules, less functions that are flat, write, or find
# members of sets. HIPS/autograd#788 asks for about 50 of these; its last stage stands apart.
_ASKED = {
    "without a rule": """
        apply_along_axis apply_over_axes average block broadcast_arrays cbrt choose compress concat convolve
        copy copysign corrcoef correlate cov cumprod cumulative_prod cumulative_sum delete diagflat dstack
        ediff1d extract flip float_power fmod geomspace histogram i0 insert interp ldexp logspace
        matrix_transpose matvec median meshgrid modf nancumprod nancumsum nanmax nanmean nanmedian nanmin
        nanpercentile nanprod nanquantile nanstd nansum nanvar percentile piecewise poly polyadd polyder
        polydiv polyfit polyint polymul polysub polyval positive ptp quantile resize roots sort_complex take
        take_along_axis trapezoid trim_zeros unstack unwrap vander vdot vecdot vecmat
        linalg.cond linalg.cross linalg.diagonal linalg.eigvals linalg.eigvalsh linalg.lstsq linalg.matmul
        linalg.matrix_norm linalg.matrix_power linalg.matrix_transpose linalg.multi_dot linalg.outer linalg.qr
        linalg.svdvals linalg.tensordot linalg.tensorinv linalg.tensorsolve linalg.trace linalg.vecdot
        linalg.vector_norm fft.hfft fft.ihfft
    """,
    "last stage of the issue": """
        interp convolve correlate trapezoid unwrap sinc i0 take take_along_axis compress extract choose
    """,
}
ASKED_OF_AUTOGRAD = {which: names.split() for which, names in _ASKED.items()}
