// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {Base} from "./Base.t.sol";

/// A smart account of the developer: what the developer signs, it signs (ERC-1271).
contract SmartAccount is IERC1271 {
    address private immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes calldata s) external view returns (bytes4) {
        address signer = ecrecover(hash, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64]));
        return signer == owner ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

contract RedeemTest is Base {
    uint256 internal asset;
    uint256 internal id;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow() + 1;
        id = open(asset, window, 0);
        grant(id, developer, MOST_USED);
    }

    function testRedeem(uint64 amount, uint48 when, uint256 key, uint256 nonce) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        when = uint48(bound(when, START, uint256(window + 1) * WINDOW - 1));
        IAccess.Redemption memory r = redemption(developer, id, amount);
        (r.keyX, r.keyY) = publicKey(bound(key, 1, P256_N - 1));
        r.nonce = nonce;
        uint256 begin = uint256(window) * WINDOW;
        uint48 startsAt = uint48(when > begin ? when : begin);
        bytes32 lease = typed(accessDomain(), hashOf(r));
        assertEq(access.leaseId(r), lease);
        vm.warp(when);

        vm.expectEmit(address(access));
        emit IAccess.Redeemed(lease, developer, id, amount, startsAt, 4, r.keyX, r.keyY);
        vm.prank(developer);
        assertEq(access.redeem(r), lease);

        assertEq(access.balanceOf(developer, id), MOST_USED - amount);
        assertEq(access.acquiredBy(GPUS, window, developer), MOST_USED, "redeemed is still acquired");
        assertEq(access.redeemedBy(GPUS, window, developer), amount);
        assertEq(access.issued(asset, window), MOST_USED, "what is used up is not sold again");
        IAccess.Lease memory expected =
            IAccess.Lease(developer, startsAt, 4, 0, 0, false, id, amount, 0, 0, r.keyX, r.keyY);
        assertEq(abi.encode(access.leaseOf(lease)), abi.encode(expected));
    }

    function testRedeemFor(address sender, uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        IAccess.Redemption memory r = redemption(developer, id, amount);
        bytes memory signature = sign(keyOf[developer], typed(accessDomain(), hashOf(r)));

        vm.prank(sender);
        bytes32 lease = access.redeemFor(r, signature);

        assertEq(access.leaseOf(lease).holder, developer);
        assertEq(access.balanceOf(developer, id), MOST_USED - amount);
    }

    function testRedeemForASmartAccount() public {
        address account = address(new SmartAccount(developer));
        admit(account);
        vm.prank(developer);
        access.transfer(account, id, 10);
        IAccess.Redemption memory r = redemption(account, id, 10);
        bytes memory bad = sign(keyOf[relayer], typed(accessDomain(), hashOf(r)));

        _refuseFor(r, bad, abi.encodeWithSelector(IAccess.BadHolderSignature.selector, account));
        bytes32 lease = access.redeemFor(r, sign(keyOf[developer], typed(accessDomain(), hashOf(r))));

        assertEq(access.leaseOf(lease).holder, account);
    }

    function testRedeemForAnotherStatementThanSigned(uint64 amount, bytes32 x, uint256 key) public {
        IAccess.Redemption memory r = redemption(developer, id, 10);
        bytes memory signature = sign(keyOf[developer], typed(accessDomain(), hashOf(r)));
        bytes memory bad = abi.encodeWithSelector(IAccess.BadHolderSignature.selector, developer);

        vm.assume(amount != 10 && x != r.keyX);
        r.amount = amount;
        _refuseFor(r, signature, bad);
        (r.amount, r.keyX) = (10, x);
        _refuseFor(r, signature, bad);
        (r.keyX, r.keyY) = publicKey(SESSION_KEY);
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(key != keyOf[developer]);
        _refuseFor(r, sign(key, typed(accessDomain(), hashOf(r))), bad);
        _refuseFor(r, "", bad);
    }

    function testRedeemForOfAnotherDomain(uint64 chainId, address verifier) public {
        vm.assume(chainId != block.chainid && verifier != address(access));
        IAccess.Redemption memory r = redemption(developer, id, 10);
        bytes memory bad = abi.encodeWithSelector(IAccess.BadHolderSignature.selector, developer);
        uint256 key = keyOf[developer];
        string memory name = "Commonhold Access";
        _refuseFor(r, sign(key, typed(domainOf(name, chainId, address(access)), hashOf(r))), bad);
        _refuseFor(r, sign(key, typed(domainOf(name, block.chainid, verifier), hashOf(r))), bad);
    }

    function testRedeemTwice(uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED / 2));
        IAccess.Redemption memory r = redemption(developer, id, amount);
        bytes memory signature = sign(keyOf[developer], typed(accessDomain(), hashOf(r)));
        bytes32 lease = access.redeemFor(r, signature);

        _refuseFor(r, signature, abi.encodeWithSelector(IAccess.LeaseExists.selector, lease));
        _refuse(r, abi.encodeWithSelector(IAccess.LeaseExists.selector, lease));
        ++r.nonce;
        vm.prank(developer);
        access.redeem(r);
    }

    function testRedeemByAnotherThanTheHolder(address sender) public {
        vm.assume(sender != developer);
        IAccess.Redemption memory r = redemption(developer, id, 1);
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotHolder.selector, sender, developer));
        access.redeem(r);
    }

    function testRedeemMoreThanHeld(uint64 amount) public {
        amount = uint64(bound(amount, MOST_USED / 2 + 1, MOST_USED));
        vm.prank(developer);
        access.transfer(affiliate, id, MOST_USED / 2);
        _refuse(
            redemption(developer, id, amount),
            abi.encodeWithSelector(ERC6909.ERC6909InsufficientBalance.selector, developer, MOST_USED / 2, amount, id)
        );
    }

    function testRedeemAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        IAccess.Redemption memory r = redemption(developer, id, 1);
        r.deadline = deadline;
        _refuse(r, abi.encodeWithSelector(IAccess.DeadlinePassed.selector, deadline, START));
    }

    function testRedeemInTheLastSecond() public {
        IAccess.Redemption memory r = redemption(developer, id, 1);
        r.deadline = START;
        vm.prank(developer);
        access.redeem(r);

        assertEq(access.redeemedBy(GPUS, window, developer), 1);
    }

    function testRedeemNothing() public {
        _refuse(redemption(developer, id, 0), abi.encodeWithSelector(IAccess.NoAmount.selector));
    }

    function testRedeemNotOpen(uint256 other) public {
        vm.assume(other != id);
        _refuse(redemption(developer, other, 1), abi.encodeWithSelector(IAccess.NotOpen.selector, other));
    }

    function testRedeemInAnEndedWindow(uint32 later) public {
        later = uint32(bound(later, 1, 1_000));
        vm.warp(uint256(window + later) * WINDOW);
        _refuse(
            redemption(developer, id, 1),
            abi.encodeWithSelector(IAccess.WindowNotOpen.selector, window, window + later, window + later + HORIZON)
        );
    }

    function testRedeemBadSessionKey(bytes32 x, bytes32 y) public {
        IAccess.Redemption memory r = redemption(developer, id, 1);
        (r.keyX, r.keyY) = (x, y);
        _refuse(r, abi.encodeWithSelector(IAccess.BadSessionKey.selector));
        (r.keyX, r.keyY) = (0, 0);
        _refuse(r, abi.encodeWithSelector(IAccess.BadSessionKey.selector));
    }

    function testRedeemAsALapsedMember() public {
        address lapsing = _actor("lapsing");
        admit(lapsing, START + 1);
        vm.prank(developer);
        access.transfer(lapsing, id, 10);
        vm.warp(START + 1);
        IAccess.Redemption memory r = redemption(lapsing, id, 10);
        vm.prank(lapsing);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotActiveMember.selector, lapsing));
        access.redeem(r);
    }

    function testRedeemOfALapsedAsset() public {
        skipTo(EXPIRES - HORIZON * WINDOW);
        id = open(asset, access.currentWindow() + HORIZON, 0);
        grant(id, developer, 1);
        skipTo(EXPIRES);
        _refuse(redemption(developer, id, 1), abi.encodeWithSelector(IAccess.AssetNotLive.selector, asset));
    }

    /// Credits given away after use do not make room for more use: the group's limit counts what was redeemed.
    function testRedeemNoMoreThanTheLimitAfterAJoin(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, MOST_USED));
        second = uint64(bound(second, 1, MOST_USED));
        grant(id, affiliate, MOST_USED);
        redeem(developer, id, first);
        attach(affiliate, developer);

        IAccess.Redemption memory r = redemption(affiliate, id, second);
        bool fits = uint256(first) + second <= MOST_USED;
        if (!fits) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IAccess.OverUseLimit.selector, GPUS, window, developer, uint256(first) + second, MOST_USED
                )
            );
        }
        vm.prank(affiliate);
        access.redeem(r);

        assertEq(access.redeemedBy(GPUS, window, developer), fits ? uint256(first) + second : first);
        assertEq(access.redeemedBy(GPUS, window, affiliate), fits ? second : 0, "its own");
    }

    function _refuse(IAccess.Redemption memory r, bytes memory reason) private {
        vm.prank(developer);
        vm.expectRevert(reason);
        access.redeem(r);
    }

    function _refuseFor(IAccess.Redemption memory r, bytes memory signature, bytes memory reason) private {
        vm.prank(relayer);
        vm.expectRevert(reason);
        access.redeemFor(r, signature);
    }
}
